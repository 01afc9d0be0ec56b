use std::fmt::Display;

#[muxado_rpc::service]
pub trait Methods {
    async fn of_type<T>(&self, value: T) -> u64;
    async fn of_const<const N: usize>(&self, value: [u8; N]) -> u64;
    async fn of_impl(&self, value: impl Display) -> u64;
    async fn with_clause(&self) -> u64
    where
        Self: Sized;
    async fn to_impl(&self) -> impl Display;
    async fn with_self(&self, other: Option<Self>) -> u64;
}

#[muxado_rpc::service]
pub trait Whole<T> {
    async fn take(&self, value: T);
}

fn main() {}
