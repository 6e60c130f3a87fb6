//! Settings whose values are words.

/// Declares an enum whose values are words.
macro_rules! words {
    (
        $(#[$doc:meta])*
        pub enum $name:ident ($placeholder:literal) { $( $(#[$word_doc:meta])* $variant:ident = $word:literal, )+ }
    ) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $( $(#[$word_doc])* $variant, )+ }

        impl $name {
            /// The word in the settings.
            pub fn as_str(self) -> &'static str {
                match self { $( Self::$variant => $word, )+ }
            }
        }

        impl $crate::config::value::Scalar for $name {
            const NAME: &'static str = $placeholder;
            const EXPECTS: &'static str = concat!("one of ", $placeholder);

            fn parse(text: &str) -> Result<Self, $crate::config::value::Wrong> {
                match text {
                    $( $word => Ok(Self::$variant), )+
                    _ => Err($crate::config::value::Wrong::default()),
                }
            }

            fn text(&self) -> String {
                self.as_str().to_owned()
            }
        }
    };
}

pub(super) use words;

words! {
    /// What happens to a subscriber past its lag bound.
    pub enum SlowPolicy ("evict|skip|latest") {
        /// Close it; the client resumes by id.
        Evict = "evict",
        /// Jump to the newest event, with a gap event.
        Skip = "skip",
        /// Keep the newest event of each topic only.
        Latest = "latest",
    }
}

words! {
    /// What an answered publish stands for, with a data directory.
    pub enum Durability ("memory|interval|fsync") {
        /// The event is in memory, and on its way to the disk.
        Memory = "memory",
        /// It was written, and is synced within the interval.
        Interval = "interval",
        /// It is on the disk.
        Fsync = "fsync",
    }
}

words! {
    /// How a full or draining server answers an `EventSource`.
    pub enum BusyReply ("stream|503") {
        /// 200, a jittered `retry:`, `event: sse.reconnect`, the end: a browser comes back by itself.
        Stream = "stream",
        /// 503 with `Retry-After`: a native `EventSource` then gives up for good.
        Unavailable = "503",
    }
}

words! {
    /// Whether the writers send by io_uring.
    pub enum IoUring ("auto|off") {
        /// Where the kernel has it and lets the process use it.
        Auto = "auto",
        /// Each stream is sent to by a call of its own.
        Off = "off",
    }
}

words! {
    /// How log lines are written.
    pub enum LogFormat ("text|json") {
        /// For people.
        Text = "text",
        /// One JSON object per line.
        Json = "json",
    }
}

words! {
    /// The least severe log line that is written.
    pub enum LogLevel ("error|warn|info|debug|trace") {
        /// What failed.
        Error = "error",
        /// And what will need attention.
        Warn = "warn",
        /// And one line per connect and disconnect.
        Info = "info",
        /// And heartbeats.
        Debug = "debug",
        /// Everything.
        Trace = "trace",
    }
}

words! {
    /// Whether the streams of some topics may be compressed.
    pub enum TopicCompression ("default|on|off") {
        /// As on the whole server.
        Default = "default",
        /// They may.
        On = "on",
        /// They are not.
        Off = "off",
    }
}

words! {
    /// A ready-made set of bounds for topics of one kind.
    pub enum Preset ("low-frequency|default|bursty|realtime") {
        /// A lag of 16 frames: news, notifications.
        LowFrequency = "low-frequency",
        /// The bounds of the whole server.
        Default = "default",
        /// A lag of 512 frames: many events at once, then quiet.
        Bursty = "bursty",
        /// A lag of 1 frame and `slow-policy` `latest`: positions, prices, anything an older value of which is worthless.
        Realtime = "realtime",
    }
}
