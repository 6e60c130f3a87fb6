//! What can happen.

use proptest::prelude::*;
use sse_hub::SlowPolicy;

use crate::client::{Client, From, Way};
use crate::world::World;

#[derive(Debug, Clone)]
pub(crate) struct Setting {
    pub(crate) frames_max: usize,
    pub(crate) floors_max: usize,
    pub(crate) shards: usize,
    /// With no policy nobody is ever too slow.
    pub(crate) policy: Option<SlowPolicy>,
}

impl Setting {
    pub(crate) fn any() -> impl Strategy<Value = Self> {
        let policy = prop_oneof![
            3 => Just(None),
            1 => Just(Some(SlowPolicy::Evict)),
            1 => Just(Some(SlowPolicy::Skip)),
            1 => Just(Some(SlowPolicy::Latest)),
        ];
        (1..5_usize, prop_oneof![Just(0), Just(1000)], 1..4_usize, policy)
            .prop_map(|(frames_max, floors_max, shards, policy)| Self { frames_max, floors_max, shards, policy })
    }
}

#[derive(Debug, Clone)]
pub(crate) enum Operation {
    Publish {
        topics: u8,
        private: bool,
        id: Option<u8>,
    },
    Join {
        way: Way,
        from: From,
        granted: bool,
    },
    Read {
        client: usize,
        deliveries: usize,
    },
    CatchUp {
        client: usize,
    },
    /// The connection is lost; the client comes back with the last id it saw.
    Reconnect {
        client: usize,
    },
    Leave {
        client: usize,
    },
    Close {
        topic: usize,
    },
    Wait {
        seconds: u64,
    },
}

impl Operation {
    pub(crate) fn any() -> impl Strategy<Value = Self> {
        let id = prop_oneof![4 => Just(None), 1 => (0..4_u8).prop_map(Some)];
        prop_oneof![
            12 => (1..8_u8, prop::bool::weighted(0.2), id)
                .prop_map(|(topics, private, id)| Self::Publish { topics, private, id }),
            4 => (Way::any(), From::any(), any::<bool>())
                .prop_map(|(way, from, granted)| Self::Join { way, from, granted }),
            5 => (0..100_usize, 1..4_usize).prop_map(|(client, deliveries)| Self::Read { client, deliveries }),
            3 => (0..100_usize).prop_map(|client| Self::CatchUp { client }),
            4 => (0..100_usize).prop_map(|client| Self::Reconnect { client }),
            1 => (0..100_usize).prop_map(|client| Self::Leave { client }),
            1 => (0..3_usize).prop_map(|topic| Self::Close { topic }),
            2 => (1..4_u64).prop_map(|tens| Self::Wait { seconds: 10 * tens }),
        ]
    }

    pub(crate) fn run(self, world: &mut World, clients: &mut Vec<Client>) {
        let count = clients.len();
        let mut with_client = |index: usize, with: &mut dyn FnMut(&mut Client)| {
            if count > 0 {
                with(&mut clients[index % count]);
            }
        };
        match self {
            Self::Publish { topics, private, id } => world.publish(topics, private, id, clients),
            Self::Close { topic } => world.close(topic, clients),
            Self::Wait { seconds } => world.wait(seconds, clients),
            Self::Join { way, from, granted } => clients.extend(Client::join(world, way, &from, granted)),
            Self::Read { client, deliveries } => with_client(client, &mut |client| client.read(world, deliveries)),
            Self::CatchUp { client } => with_client(client, &mut |client| client.catch_up(world)),
            Self::Reconnect { client } => with_client(client, &mut |client| client.reconnect(world)),
            Self::Leave { client } if count > 0 => drop(clients.swap_remove(client % count)),
            Self::Leave { .. } => (),
        }
    }
}
