//! A mistake in one method leaves all others what they are.

pub struct Opaque;

#[muxado_rpc::service]
pub trait Store {
    async fn wrong_parameter(&self, value: Opaque) -> u8;
    async fn wrong_answer(&self) -> Opaque;
    #[cfg_attr(all(), method(idempotent))]
    #[cfg_attr(not(any()), method(no_cancel))]
    async fn two_options(&self);
    async fn unknown(&self, value: Missing) -> u8;
    async fn right(&self, key: &str) -> u8;
}

pub struct Memory;

impl Store for Memory {
    async fn wrong_parameter(&self, _: Opaque) -> u8 {
        1
    }

    async fn wrong_answer(&self) -> Opaque {
        Opaque
    }

    async fn two_options(&self) {}

    async fn unknown(&self, _: u8) -> u8 {
        2
    }

    async fn right(&self, key: &str) -> u8 {
        key.len() as u8
    }
}

fn main() {
    let store = StoreClient::new(StoreServer::new(Memory));
    let _ = store.right("key").timeout(std::time::Duration::from_secs(1));
}
