#[muxado_rpc::service]
pub struct Calculator {
    pub digits: u8,
}

#[muxado_rpc::service]
impl Calculator {
    pub async fn add(&self, a: i64, b: i64) -> i64 {
        a + b
    }
}

fn main() {}
