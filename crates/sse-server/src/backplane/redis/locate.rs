//! Which process has our keys: the only one, the master that sentinels know, or a cluster's owner of their slot.

use std::time::Duration;

use ::redis::cmd;
use tokio::time::timeout;

use super::super::address::{Address, Node};
use super::super::engine::EngineError;
use super::super::slot::Fault;
use super::link::{Version, Wire};
use super::reply;

/// How long one node has, if there are others to try within the time that a call has.
const NODE_PATIENCE: Duration = Duration::from_millis(1500);
/// The first version whose streams can be read as we do.
const VERSION_MIN: Version = Version { major: 6, minor: 2, patch: 0 };

/// What a process says of itself.
struct Description {
    mode: Mode,
    version: Version,
}

enum Mode {
    Standalone,
    Sentinel,
    Cluster,
}

/// Asks one node after the other.
pub(super) async fn find(address: &Address, key: &str) -> Result<(Wire, Version), EngineError> {
    let mut first = None;
    for node in &address.nodes {
        let asked = match address.nodes.len() {
            1 => by_way_of(address, node, key).await,
            _ => match timeout(NODE_PATIENCE, by_way_of(address, node, key)).await {
                Ok(asked) => asked,
                Err(_) => Err(Fault::away(format!("{node} does not answer"))),
            },
        };
        match asked {
            Ok(found) => return Ok(found),
            // Of all reasons the one that trying again does not help tells most.
            Err(fault) => match (&first, &fault.error) {
                (None, _) | (Some(EngineError::Unavailable(_)), EngineError::Refused(_)) => first = Some(fault.error),
                _ => (),
            },
        }
    }
    Err(first.unwrap_or_else(|| EngineError::Refused("there is no node".to_owned())))
}

async fn by_way_of(address: &Address, node: &Node, key: &str) -> Result<(Wire, Version), Fault> {
    let mut wire = Wire::open(address, node).await?;
    let description = describe(&mut wire).await?;
    match description.mode {
        Mode::Sentinel => {
            let master = master_of(&wire, address.options.master.as_deref()).await?;
            let mut wire = Wire::open(address, &master).await?;
            let version = describe(&mut wire).await?.version;
            enter(wire, address, version).await
        }
        Mode::Standalone => enter(wire, address, description.version).await,
        Mode::Cluster if address.database != 0 => Err(Fault::refused("a Redis cluster has no databases but 0")),
        Mode::Cluster => match owner_of(&wire, key, node).await? {
            owner if owner == *node => enter(wire, address, description.version).await,
            owner => enter(Wire::open(address, &owner).await?, address, description.version).await,
        },
    }
}

/// The last steps on the way to a process that is to have our keys.
async fn enter(mut wire: Wire, address: &Address, version: Version) -> Result<(Wire, Version), Fault> {
    if let Some(fault) = wire.refused() {
        return Err(fault);
    }
    if version < VERSION_MIN {
        return Err(Fault::refused(format!("Redis {version} is older than {VERSION_MIN}")));
    }
    if address.database != 0 {
        wire.ask(cmd("SELECT").arg(address.database)).await?;
    }
    match reply::role(&wire.ask(&cmd("ROLE")).await?).as_deref() {
        Some("master") => Ok((wire, version)),
        // Soon it may be: this is how a failover looks from here.
        _ => Err(Fault::away("READONLY it is a replica")),
    }
}

async fn describe(wire: &mut Wire) -> Result<Description, Fault> {
    let info = match wire.ask(cmd("INFO").arg("server")).await {
        Ok(info) => reply::text(&info)?,
        // A refused password tells more than what is refused for the lack of one.
        Err(fault) => return Err(wire.refused().unwrap_or(fault)),
    };
    let field = |name: &str| info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim);
    let mode = match field("redis_mode") {
        Some("sentinel") => Mode::Sentinel,
        Some("cluster") => Mode::Cluster,
        _ => Mode::Standalone,
    };
    let version = field("redis_version").and_then(Version::parse);
    let version = version.ok_or_else(|| Fault::refused("what answers there is no Redis"))?;
    Ok(Description { mode, version })
}

async fn master_of(sentinel: &Wire, name: Option<&str>) -> Result<Node, Fault> {
    let name = match name {
        Some(name) => name.to_owned(),
        None => only_master(sentinel).await?,
    };
    let answer = sentinel.ask(cmd("SENTINEL").arg("GET-MASTER-ADDR-BY-NAME").arg(&name)).await?;
    match reply::node(&answer) {
        Some(node) => Ok(node),
        None => Err(Fault::refused(format!("the sentinel knows no master of the name {name}"))),
    }
}

async fn only_master(sentinel: &Wire) -> Result<String, Fault> {
    let names = reply::master_names(&sentinel.ask(cmd("SENTINEL").arg("MASTERS")).await?);
    match &names[..] {
        [name] => Ok(name.clone()),
        [] => Err(Fault::away("the sentinel knows no master")),
        _ => Err(Fault::refused(format!(
            "the sentinel knows several masters: name one as ?master={}",
            names.join(", or ")
        ))),
    }
}

async fn owner_of(wire: &Wire, key: &str, asked: &Node) -> Result<Node, Fault> {
    let slot = reply::number(&wire.ask(cmd("CLUSTER").arg("KEYSLOT").arg(key)).await?)?;
    let slots = wire.ask(cmd("CLUSTER").arg("SLOTS")).await?;
    reply::owner(&slots, slot, asked).ok_or_else(|| Fault::away(format!("CLUSTERDOWN nobody has slot {slot}")))
}
