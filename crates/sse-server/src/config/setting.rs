//! What is known about a setting, and the macro that declares a table of them together with the struct they fill.

use super::fault::{Fault, Origin};
use super::machine::Machine;
use super::value::{Item, Kind, Value};

/// One row of a table of settings: all that flags, environment, file, printing and reference need to know.
#[derive(Debug)]
pub(crate) struct Setting {
    /// The field, and the key unless the rules name another.
    pub(super) field: &'static str,
    /// The heading it stands under.
    pub(super) group: &'static str,
    /// Its lines, as written at the field.
    pub(super) doc: &'static [&'static str],
    pub(super) applies: Applies,
    pub(super) kind: Kind,
    pub(super) rules: Rules,
}

impl Setting {
    /// The TOML key; flag and environment are spelled from it.
    pub(super) fn key(&self) -> &'static str {
        self.rules.name.unwrap_or(self.field)
    }

    /// The lines of its doc comment, without the space that follows the slashes.
    pub(super) fn doc_lines(&self) -> impl Iterator<Item = &'static str> {
        self.doc.iter().map(|line| line.strip_prefix(' ').unwrap_or(line))
    }

    /// What the documentation says the default is.
    pub(super) fn default_shown(&self) -> &'static str {
        match self.rules.default {
            Default::Nothing => "none",
            Default::Text(text) => text,
            Default::Machine { shown, .. } => shown,
        }
    }
}

/// What makes a changed value count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Applies {
    /// A new process.
    Restart,
    /// A reload of the running one.
    Reload,
}

impl Applies {
    /// What the documentation says a change needs.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Restart => "restart",
            Self::Reload => "reload",
        }
    }
}

/// What holds for a setting beyond its type.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    pub(super) default: Default,
    pub(super) name: Option<&'static str>,
    pub(super) at_least: Option<&'static str>,
    pub(super) at_most: Option<&'static str>,
    /// Whether the file may set it.
    pub(super) in_file: bool,
    /// A variable that programs of other makers read as well. It counts where no layer says anything.
    pub(super) or_variable: Option<&'static str>,
}

/// Where the value comes from when no layer gives one.
#[derive(Clone, Copy, Debug)]
pub(super) enum Default {
    /// None or an empty list; a type that needs a value then faults as missing.
    Nothing,
    /// Read like any other text.
    Text(&'static str),
    /// Worked out from the machine, and how the documentation puts it.
    Machine { shown: &'static str, text: fn(&Machine) -> String },
}

/// No value unless a layer gives one.
pub(super) const fn nothing() -> Rules {
    Rules { default: Default::Nothing, name: None, at_least: None, at_most: None, in_file: true, or_variable: None }
}

/// This text unless a layer gives another.
pub(super) const fn default(text: &'static str) -> Rules {
    Rules { default: Default::Text(text), ..nothing() }
}

/// A text worked out from the machine unless a layer gives another.
pub(super) const fn machine(shown: &'static str, text: fn(&Machine) -> String) -> Rules {
    Rules { default: Default::Machine { shown, text }, ..nothing() }
}

impl Rules {
    pub(super) const fn at_least(self, text: &'static str) -> Self {
        Self { at_least: Some(text), ..self }
    }

    pub(super) const fn at_most(self, text: &'static str) -> Self {
        Self { at_most: Some(text), ..self }
    }

    pub(super) const fn named(self, name: &'static str) -> Self {
        Self { name: Some(name), ..self }
    }

    pub(super) const fn not_in_file(self) -> Self {
        Self { in_file: false, ..self }
    }

    pub(super) const fn or_variable(self, name: &'static str) -> Self {
        Self { or_variable: Some(name), ..self }
    }

    fn default_item(&self, key: &str, machine: &Machine) -> Vec<Item> {
        let text = match self.default {
            Default::Nothing => return Vec::new(),
            Default::Text(text) => text.to_owned(),
            Default::Machine { text, .. } => text(machine),
        };
        vec![Item { text, origin: Origin::Default(key.to_owned()) }]
    }
}

/// What one layer gave for one setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Given {
    pub(super) origin: Origin,
    pub(super) items: Vec<Item>,
}

/// A setting with what each layer gave for it, first layer first.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) setting: &'static Setting,
    pub(super) given: Vec<Given>,
}

/// Where the value of a setting came from, and whether it can be relied on.
#[derive(Clone, Debug)]
pub(super) struct Source {
    pub(super) origin: Origin,
    pub(super) sound: bool,
}

impl Row {
    /// The default, and nothing from any other layer yet.
    pub(super) fn of_default(setting: &'static Setting, machine: &Machine) -> Self {
        let origin = Origin::Default(setting.key().to_owned());
        let items = setting.rules.default_item(setting.key(), machine);
        Self { setting, given: vec![Given { origin, items }] }
    }

    /// The value of the last layer that has a good one. Every layer is read, so that a fault shows
    /// even where a later layer hides the value; `source` then says not to build conclusions on it.
    pub(super) fn resolve<T: Value>(self, sources: &mut Vec<Source>, faults: &mut Vec<Fault>) -> Option<T> {
        let faults_before = faults.len();
        let mut value = None;
        let mut origin = Origin::CommandLine;
        for layer in self.given {
            value = T::read(&layer.items, &self.setting.rules, faults).or(value);
            origin = layer.origin;
        }
        if value.is_none() && faults.len() == faults_before {
            let expected = self.setting.kind.expected();
            faults
                .push(Fault::new(origin.clone(), format!("`{}` is missing, expected {expected}", self.setting.key())));
        }
        sources.push(Source { origin, sound: faults.len() == faults_before });
        value
    }
}

/// Declares a struct of settings and its table: `field: Type = rules, when a change applies;` under group headings.
macro_rules! settings {
    (
        $(#[$struct_doc:meta])*
        pub struct $name:ident;
        table $table:ident;
        also { $( $(#[$also_doc:meta])* $also:ident: $also_type:ty, )* }
        $(
            $group:literal {
                $( $(#[doc = $doc:literal])+ $field:ident: $type:ty = $rules:expr, $applies:ident; )+
            }
        )+
    ) => {
        $(#[$struct_doc])*
        pub struct $name {
            $($( $(#[doc = $doc])+ pub $field: $type, )+)+
            $( $(#[$also_doc])* pub $also: $also_type, )*
        }

        /// Every setting, in the order of the documentation.
        pub(super) static $table: &[$crate::config::setting::Setting] = &[
            $($(
                $crate::config::setting::Setting {
                    field: stringify!($field),
                    group: $group,
                    doc: &[$($doc),+],
                    applies: $crate::config::setting::settings!(@applies $applies),
                    kind: <$type as $crate::config::value::Value>::KIND,
                    rules: $rules,
                },
            )+)+
        ];

        impl $name {
            /// Reads every row, in the table's order; fields outside the table are left empty. Nothing comes back only if some row has no good value at all.
            pub(super) fn resolve(
                rows: Vec<$crate::config::setting::Row>,
                faults: &mut Vec<$crate::config::fault::Fault>,
            ) -> (Option<Self>, Vec<$crate::config::setting::Source>) {
                let mut sources = Vec::with_capacity(rows.len());
                let mut rows = rows.into_iter();
                $($(
                    let $field: Option<$type> =
                        rows.next().and_then(|row| row.resolve(&mut sources, faults));
                )+)+
                let complete = || Some(Self { $($( $field: $field?, )+)+ $( $also: <$also_type>::default(), )* });
                (complete(), sources)
            }

            /// Every setting with the texts of its value, in the table's order.
            pub(super) fn shown(&self) -> Vec<(&'static $crate::config::setting::Setting, Vec<String>)> {
                let texts = [$($( $crate::config::value::Value::texts(&self.$field), )+)+];
                $table.iter().zip(texts).collect()
            }

            /// The settings whose values are not the same in both.
            #[allow(dead_code, reason = "not every struct of settings can change at runtime")]
            pub(super) fn differing(
                &self,
                other: &Self,
            ) -> impl Iterator<Item = &'static $crate::config::setting::Setting> + use<> {
                let differs = [$($( self.$field != other.$field, )+)+];
                $table.iter().zip(differs).filter_map(|(setting, differs)| differs.then_some(setting))
            }
        }
    };
    (@applies restart) => { $crate::config::setting::Applies::Restart };
    (@applies reload) => { $crate::config::setting::Applies::Reload };
}
pub(super) use settings;
