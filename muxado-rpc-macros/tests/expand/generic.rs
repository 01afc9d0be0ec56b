trait Store<T> {
    #[allow(async_fn_in_trait)]
    async fn put(&self, _: T)
    where
        Self: ::core::marker::Sized;
}
::core::compile_error! {
    "a service trait cannot be generic: its types must be known to both peers"
}
