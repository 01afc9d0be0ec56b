#[muxado_rpc::service(nam = "calc.Calculator", id = 7, id = 8)]
pub trait UnknownAndTwice {
    #[method(nmae = "plus")]
    async fn add(&self, a: i64, b: i64) -> i64;
    #[method]
    async fn bare(&self);
    #[method(name = "once")]
    #[method(name = "twice")]
    async fn twice(&self);
    #[method(name = "")]
    async fn empty(&self);
}

#[muxado_rpc::service(name = Calculator, id = "7", crate = "not a path")]
pub trait WrongValues {}

#[muxado_rpc::service(name)]
pub trait NoValue {}

#[muxado_rpc::service(id = 0xFFFF_FF00)]
pub trait Reserved {}

#[muxado_rpc::service(id = 4_294_967_296)]
pub trait OutOfRange {}

#[muxado_rpc::service(id = -1)]
pub trait Negative {}

fn main() {}
