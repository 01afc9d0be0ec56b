use muxado_rpc::AppError;

#[derive(AppError)]
enum Broken {
    #[code]
    Bare,
    #[code("not_found")]
    Text,
    #[code(NotFound)]
    #[code(Aborted)]
    Twice,
    #[code(Lost)]
    Unheard,
}

#[derive(AppError)]
#[app_error(krate = "x")]
struct Renamed;

#[derive(AppError)]
union Either {
    a: u8,
    b: i8,
}

#[derive(AppError)]
enum WrongPlace {
    #[app_error(code = NotFound)]
    Missing,
}

fn main() {}
