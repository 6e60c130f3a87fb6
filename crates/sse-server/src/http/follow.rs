//! Following over HTTP: a request to a stream.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use hyper::body::Incoming;
use hyper::header::{HeaderMap, HeaderName, HeaderValue, ORIGIN, USER_AGENT};
use hyper::{Method, Request, Response};
use sse_hub::{FeedStart, Gap, Selector, Start, SubscribeError, SubscribeOptions, TopicName};

use super::{Problem, ReplyBody, busy, full, no_content, origin, query};
use crate::access::Access;
use crate::app::{App, Busy};
use crate::backplane::Behind;
use crate::carrier::Carrier;
use crate::compression::accepts_gzip;
use crate::stream::{
    Encoding, FollowedTopics, Framing, Holdings, Interface, Notices, Opening, RemoteAddr, Shape, Source, StreamInfo,
    StreamPlan, body, head_fields, jittered,
};
use crate::trace;

pub(super) const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// A `Last-Event-ID` is an id that a publisher chose or the server made: longer ones are an attack.
const LAST_EVENT_ID_BYTES_MAX: usize = 1024;
/// Bytes of a user agent that are worth keeping.
const USER_AGENT_BYTES_MAX: usize = 256;

/// What a request asks to follow.
#[derive(Debug)]
pub(super) struct Wish {
    pub(super) selectors: Vec<Selector>,
    pub(super) start: Start,
    pub(super) shape: Shape,
    pub(super) manner: Manner,
    /// What stands in the place of a token.
    pub(super) ticket: Option<String>,
}

/// How a stream is written, by the protocol it was asked for in.
#[derive(Debug)]
pub(super) struct Manner {
    pub(super) opening: Opening,
    pub(super) notices: Notices,
    /// The head's fields, but for those of the connection and of origins.
    pub(super) headers: HeaderMap,
    /// Its subscriptions are announced and listed.
    pub(super) announced: bool,
    /// The head says where the stream begins: after the id that was asked for, or with all that is kept.
    pub(super) tells_start: bool,
}

/// `GET /events/{topic}` and `GET /events?topic=..`.
pub(super) async fn follow(
    app: &Arc<App>,
    carrier: &Carrier,
    request: Request<Incoming>,
    topic: Option<TopicName>,
) -> Result<Response<ReplyBody>, Problem> {
    let asking = match Asking::admit(app, carrier, &request) {
        Ok(asking) => asking,
        Err(busy) => return busy::reply(app, &request, busy, Notices::On),
    };
    let wish = Wish::parse(app, &request, topic)?;
    check_topics(wish.selectors.len(), app.config().topics_per_subscription_max.get())?;
    let admitted = admit(app, &request, &wish).await;
    let access = admitted.inspect_err(|problem| app.signals.connection_rejected(problem.reason()))?;
    asking.open(&access, wish).await
}

/// A request for a stream that may be made now.
pub(super) struct Asking<'a> {
    app: &'a Arc<App>,
    carrier: &'a Carrier,
    request: &'a Request<Incoming>,
    client: SocketAddr,
}

impl<'a> Asking<'a> {
    /// Before any work is done for it.
    ///
    /// # Errors
    /// Why the client has to come back later.
    pub(super) fn admit(app: &'a Arc<App>, carrier: &'a Carrier, request: &'a Request<Incoming>) -> Result<Self, Busy> {
        let client = app.limits.client(carrier.remote_addr(), request.headers());
        let is_over = || app.limits.subscribes(client.ip()).err().map(Busy::Exceeded);
        match app.busy(carrier).or_else(is_over) {
            Some(busy) => Err(busy),
            None => Ok(Self { app, carrier, request, client }),
        }
    }

    /// Makes the request a stream.
    pub(super) async fn open(self, access: &Access, wish: Wish) -> Result<Response<ReplyBody>, Problem> {
        let Self { app, carrier, request, client } = self;
        if request.method() == Method::HEAD {
            let mut response = Response::new(full(""));
            *response.headers_mut() = wish.manner.headers;
            return Ok(response);
        }
        let peer = carrier.remote_addr().ip();
        let shares = match app.limits.take_shares(peer, client.ip(), access.subject()) {
            Ok(shares) => shares,
            Err(exceeded) => return busy::reply(app, request, Busy::Exceeded(exceeded), wish.manner.notices),
        };
        if let Some(backplane) = &app.backplane
            && let Err(Behind) = backplane.node.reach(&app.hub, &wish.start).await
        {
            // Another node may have what it wants, and this one soon.
            return busy::reply(app, request, Busy::Behind, wish.manner.notices);
        }
        // Announced first, so that it does not see its own announcement.
        let presence = app.presence.as_ref().filter(|_| wish.manner.announced);
        let present = presence.and_then(|presence| presence.enter(&wish.selectors, access.token().cloned()));
        let holdings = Holdings { shares, present };
        let plan = match self.plan(access, wish, holdings).await {
            Ok(plan) => plan,
            // Not an error: the client is to stop coming back (WHATWG HTML, 9.2.3).
            Err(SubscribeError::Ended) => return Ok(no_content()),
            Err(error) => return Err(error.into()),
        };
        match carrier {
            Carrier::Connection(connection) if app.writers.is_some() => {
                connection.hand_over(plan);
                trace::handed_over(request);
                // The connection is taken apart at the end of the poll that this stays pending in.
                std::future::pending().await
            }
            _ => Ok(body::respond(app, carrier, plan)),
        }
    }

    async fn plan(&self, access: &Access, wish: Wish, holdings: Holdings) -> Result<StreamPlan, SubscribeError> {
        let Self { app, carrier, request, client } = self;
        let Wish { selectors, start, shape, manner, ticket: _ } = wish;
        let topics = match &selectors[..] {
            [only] if only.as_exact().is_some() => FollowedTopics::One(only.text().clone()),
            _ => FollowedTopics::Several(texts(&selectors).into()),
        };
        let encoding = self.encoding(&topics);
        let (source, gap) = self.source(access, selectors, &start, &topics, manner.notices).await?;
        let Manner { opening, notices, mut headers, announced, tells_start } = manner;
        if tells_start {
            headers.extend(start_field(&start, gap.as_ref()));
        }
        origin::add_cors(&mut headers, request.headers().get(ORIGIN), &app.config());
        let user_agent = request.headers().get(USER_AGENT).map(|value| String::from_utf8_lossy(value.as_bytes()));
        let user_agent: String = user_agent.unwrap_or_default().chars().take(USER_AGENT_BYTES_MAX).collect();
        let info = StreamInfo {
            remote_addr: RemoteAddr::from(*client),
            user_agent: app.user_agents.intern(&user_agent),
            topics,
            token: access.token().cloned(),
            connected_at: Instant::now(),
            protocol: carrier.protocol(app.tls.is_some()),
            interface: if announced { Interface::Mercure } else { Interface::Native },
            _permit: carrier.take_permit(),
            _holdings: holdings.boxed(),
        };
        let framing = Framing::of(request.version(), request.headers());
        Ok(StreamPlan { source, opening, gap, shape, notices, framing, encoding, headers, info })
    }

    /// Those of one topic may be compressed together, if they are not to miss anything of it.
    fn encoding(&self, topics: &FollowedTopics) -> Encoding {
        let FollowedTopics::One(topic) = topics else { return Encoding::Identity };
        let config = self.app.config();
        let may_be = accepts_gzip(self.request.headers()) && config.compresses(topic.as_str());
        if may_be { Encoding::Gzip } else { Encoding::Identity }
    }

    /// Whether a writer takes the stream.
    fn is_handed_over(&self) -> bool {
        self.app.writers.is_some() && matches!(self.carrier, Carrier::Connection(_))
    }

    /// Where the stream's frames come from, and what is missing at its start.
    async fn source(
        &self,
        access: &Access,
        selectors: Vec<Selector>,
        start: &Start,
        topics: &FollowedTopics,
        notices: Notices,
    ) -> Result<(Source, Option<Gap>), SubscribeError> {
        let app = self.app;
        let grants = access.grants();
        if let FollowedTopics::One(topic) = topics
            && self.is_handed_over()
        {
            let feed = app.hub.feed(topic)?;
            if let FeedStart::InRing { cursor, gap } = feed.resolve(start, &grants)? {
                if let Some(gap) = &gap {
                    app.signals.gaps(gap.reason.as_str(), 1);
                }
                let (replay_to, grants) = (feed.newest(), grants.within(topic));
                return Ok((Source::Topic { feed, cursor, replay_to, grants }, gap));
            }
        }
        let topic = match topics {
            FollowedTopics::One(topic) => Some((topic.clone(), grants.within(topic))),
            FollowedTopics::Several(_) => None,
        };
        let options = SubscribeOptions::selectors(selectors).from(start.clone()).with_grants(grants);
        let mut subscription = app.hub.subscribe(options)?;
        // Where it starts may have to be looked up in the log, and the head depends on it.
        subscription.started().await?;
        // With notices the subscription tells of it in its place.
        let gap = if notices == Notices::Off { subscription.take_start_gap() } else { None };
        Ok((Source::Own { subscription: Box::new(subscription), topic }, gap))
    }
}

/// The `Last-Event-ID` of the answer: what precedes the first event sent. A client that finds another id there than it asked
/// for has missed something.
fn start_field(start: &Start, gap: Option<&Gap>) -> Option<(HeaderName, HeaderValue)> {
    let earliest = HeaderValue::from_static("earliest");
    let value = match start {
        Start::Live => return None,
        Start::After(id) if gap.is_none() => HeaderValue::from_bytes(id.as_bytes()).unwrap_or(earliest),
        Start::After(_) | Start::Earliest => earliest,
    };
    Some((LAST_EVENT_ID, value))
}

fn texts(selectors: &[Selector]) -> String {
    selectors.iter().map(|selector| selector.text().as_str()).collect::<Vec<_>>().join(" ")
}

/// Whether one stream may follow so many topics and templates.
pub(super) fn check_topics(selectors: usize, selectors_max: usize) -> Result<(), Problem> {
    if selectors > selectors_max {
        return Err(SubscribeError::TooManyTopics { selectors, selectors_max }.into());
    }
    Ok(())
}

/// What the subscriber may see, if it may follow this at all.
async fn admit(app: &App, request: &Request<Incoming>, wish: &Wish) -> Result<Access, Problem> {
    let access = match &wish.ticket {
        Some(ticket) => {
            // Its successor has it as well, and it is good once.
            let _way = app.passage.enter_here().await?;
            let access = app.access.ticket(ticket, request.method())?;
            if request.method() == Method::GET {
                app.signals.ticket("used");
            }
            access
        }
        None => app.access.subscriber(request, None).await?,
    };
    if access.may_follow(&wish.selectors) {
        return Ok(access);
    }
    Err(Problem::not_granted(match wish.ticket {
        Some(_) => "the ticket was not given for this",
        None => "the token is not one for following",
    }))
}

impl Wish {
    fn parse(app: &App, request: &Request<Incoming>, topic: Option<TopicName>) -> Result<Self, Problem> {
        let mut selectors: Vec<Selector> = topic.into_iter().map(Selector::exact).collect();
        let mut last_event_id = None;
        let mut shape = Shape::Plain;
        let mut ticket = None;
        for (name, value) in query::pairs(request.uri().query().unwrap_or(""))? {
            match &*name {
                "topic" => selectors.push(Selector::exact(query::topic(&value)?)),
                "match" => {
                    let selector =
                        app.access.selector(&value).map_err(|error| Problem::bad("match", error.to_string()))?;
                    selectors.push(selector);
                }
                "last_event_id" | "lastEventID" => last_event_id = Some(value.into_owned()),
                "ticket" => ticket = Some(value.into_owned()),
                "envelope" if value == "json" => shape = Shape::Envelope,
                "envelope" => return Err(Problem::bad("envelope", "the one envelope there is is json")),
                // Helpers add parameters of their own, such as one against caches: they do no harm.
                _ => (),
            }
        }
        if selectors.is_empty() {
            return Err(Problem::bad("topic", "no topic is named; use /events/{topic} or /events?topic=a&topic=b"));
        }
        let start = start(request.headers(), last_event_id)?;
        let retry = jittered(app.config().retry, app.config().retry_jitter.get());
        let position = (start == Start::Live).then(|| app.hub.position());
        let manner = Manner {
            opening: Opening::Retry { retry, position },
            notices: Notices::On,
            headers: head_fields(),
            announced: false,
            tells_start: false,
        };
        Ok(Self { selectors, start, shape, manner, ticket })
    }
}

/// Where to start: the header wins over the query, an empty one says nothing.
pub(crate) fn start(headers: &HeaderMap, query: Option<String>) -> Result<Start, Problem> {
    let header = match headers.get(LAST_EVENT_ID) {
        Some(value) => {
            let text = std::str::from_utf8(value.as_bytes());
            Some(text.map_err(|_| Problem::bad("Last-Event-ID", "Last-Event-ID is not UTF-8"))?.to_owned())
        }
        None => None,
    };
    let id = header.filter(|id| !id.is_empty()).or(query).unwrap_or_default();
    if id.len() > LAST_EVENT_ID_BYTES_MAX {
        let detail = format!("{} bytes are more than the {LAST_EVENT_ID_BYTES_MAX} an id may have", id.len());
        return Err(Problem::bad("Last-Event-ID", detail));
    }
    Ok(Start::parse(&id))
}
