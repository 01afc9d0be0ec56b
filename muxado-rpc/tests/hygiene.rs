//! What `#[service]` generates works whatever the names around it and in it mean.

use muxado_rpc::{CallError, Codec};

/// No prelude, and the names that generated code might lean on mean something else.
mod hostile {
    #![no_implicit_prelude]
    #![expect(dead_code, reason = "names are there to be in the way")]

    pub(crate) mod core {}
    pub(crate) mod std {}
    pub(crate) mod serde {}
    pub(crate) mod muxado_rpc {}
    pub(crate) struct Result;
    pub(crate) struct Option;
    pub(crate) struct Box;
    pub(crate) struct Arc;
    pub(crate) struct String;
    pub(crate) struct Vec;
    pub(crate) struct Request;
    pub(crate) struct Response;
    pub(crate) struct Status;
    pub(crate) struct Future;
    pub(crate) trait Send {}
    pub(crate) trait Sync {}
    pub(crate) trait Clone {}
    pub(crate) trait Into {}
    pub(crate) trait Service {}
    pub(crate) trait Serialize {}

    #[::muxado_rpc::service]
    pub(crate) trait Plain {
        async fn echo(&self, text: ::std::string::String) -> ::std::string::String;
        async fn halve(&self, n: u32) -> ::core::result::Result<u32, u32>;
        async fn nothing(&self);
    }

    pub(crate) struct Impl;

    impl Plain for Impl {
        async fn echo(&self, text: ::std::string::String) -> ::std::string::String {
            text
        }

        async fn halve(&self, n: u32) -> ::core::result::Result<u32, u32> {
            if n.is_multiple_of(2) {
                ::core::result::Result::Ok(n / 2)
            } else {
                ::core::result::Result::Err(n)
            }
        }

        async fn nothing(&self) {}
    }
}

#[tokio::test]
async fn no_name_in_scope_matters() {
    let client = hostile::PlainClient::new(hostile::PlainServer::new(hostile::Impl)).with_codec(Codec::Json);
    assert_eq!(client.echo("hi".to_owned()).await.unwrap(), "hi");
    assert_eq!(client.halve(6).await.unwrap(), 3);
    assert!(matches!(client.halve(7).await, Err(CallError::App(7))));
    client.nothing().await.unwrap();
}

/// Methods and parameters named like what is generated beside and around them.
mod names {
    #[muxado_rpc::service]
    pub(crate) trait Names {
        async fn new(&self) -> u8;
        async fn clone(&self) -> u8;
        async fn call(&self, request: u8, service: u8, params: u8, codec: u8, index: u8, context: u8) -> u8;
        async fn with_codec(&self, caller: u8, channel: u8, value: u8) -> u8;
        async fn from(&self, method: u8, f: u8) -> u8;
        async fn poll_ready(&self) -> u8;
        async fn r#type(&self, r#struct: u8) -> u8;
        async fn context(&self, request: &muxado_rpc::Context) -> u8;
    }

    pub(crate) struct Impl;

    impl Names for Impl {
        async fn new(&self) -> u8 {
            1
        }

        async fn clone(&self) -> u8 {
            2
        }

        async fn call(&self, request: u8, service: u8, params: u8, codec: u8, index: u8, context: u8) -> u8 {
            request + service + params + codec + index + context
        }

        async fn with_codec(&self, caller: u8, channel: u8, value: u8) -> u8 {
            caller + channel + value
        }

        async fn from(&self, method: u8, f: u8) -> u8 {
            method + f
        }

        async fn poll_ready(&self) -> u8 {
            3
        }

        async fn r#type(&self, r#struct: u8) -> u8 {
            r#struct
        }

        async fn context(&self, _: &muxado_rpc::Context) -> u8 {
            4
        }
    }
}

#[tokio::test]
async fn a_method_may_have_any_name() {
    let client: names::NamesClient<_> = From::from(names::NamesServer::new(names::Impl));
    assert_eq!(client.new().await.unwrap(), 1);
    assert_eq!(client.clone().await.unwrap(), 2);
    assert_eq!(client.call(1, 2, 3, 4, 5, 6).await.unwrap(), 21);
    assert_eq!(client.with_codec(1, 2, 3).await.unwrap(), 6);
    assert_eq!(client.from(1, 2).await.unwrap(), 3);
    assert_eq!(client.poll_ready().await.unwrap(), 3);
    assert_eq!(client.r#type(9).await.unwrap(), 9);
    assert_eq!(client.context().await.unwrap(), 4);
}

#[test]
fn a_raw_identifier_is_sent_without_its_prefix() {
    use muxado_rpc::NamedService;
    let names: Vec<_> = names::NamesServer::<names::Impl>::INFO.methods().iter().map(|m| m.name()).collect();
    assert!(names.contains(&"type"), "{names:?}");
}

/// The user's types are called like the type parameters of client and server.
mod parameters {
    use serde::{Deserialize, Serialize};

    #[derive(Serialize, Deserialize, Debug, PartialEq)]
    pub(crate) struct C(pub(crate) u8);
    #[derive(Serialize, Deserialize, Debug, PartialEq)]
    pub(crate) struct T(pub(crate) u8);

    #[muxado_rpc::service]
    pub(crate) trait Swap {
        async fn swap(&self, c: C, t: T) -> (T, C);
    }

    pub(crate) struct Impl;

    impl Swap for Impl {
        async fn swap(&self, c: C, t: T) -> (T, C) {
            (T(c.0), C(t.0))
        }
    }
}

#[tokio::test]
async fn a_type_may_be_named_like_a_type_parameter() {
    use parameters::{C, Impl, SwapClient, SwapServer, T};
    let client = SwapClient::new(SwapServer::new(Impl));
    assert_eq!(client.swap(C(1), T(2)).await.unwrap(), (T(1), C(2)));
}

/// A `cfg` takes the method out of trait, client and server at once, and leaves no gap in the numbers.
mod configured {
    #[muxado_rpc::service]
    pub(crate) trait Configured {
        #[cfg(any())]
        async fn gone(&self, missing: Missing) -> Missing;
        async fn kept(&self, #[cfg(any())] missing: Missing, #[cfg(not(any()))] n: u8) -> u8;
        #[cfg(not(any()))]
        async fn either(&self) -> u8;
        #[cfg(any())]
        async fn either(&self, missing: Missing) -> u8;
        /// On its way out.
        #[deprecated]
        async fn old(&self) -> u8;
    }

    pub(crate) struct Impl;

    impl Configured for Impl {
        async fn kept(&self, n: u8) -> u8 {
            n
        }

        async fn either(&self) -> u8 {
            2
        }

        async fn old(&self) -> u8 {
            3
        }
    }

    #[muxado_rpc::service]
    #[cfg(any())]
    pub(crate) trait Gone {
        async fn gone(&self, missing: Missing) -> Missing;
    }
}

#[tokio::test]
async fn cfg_applies_to_all_that_is_generated() {
    use configured::{ConfiguredClient, ConfiguredServer, Impl};
    use muxado_rpc::NamedService;

    let client = ConfiguredClient::new(ConfiguredServer::new(Impl));
    assert_eq!(client.kept(1).await.unwrap(), 1);
    assert_eq!(client.either().await.unwrap(), 2);
    #[expect(deprecated, reason = "the attribute is carried to the client")]
    let old = client.old().await.unwrap();
    assert_eq!(old, 3);

    let methods = ConfiguredServer::<Impl>::INFO.methods();
    let numbered: Vec<_> = methods.iter().map(|method| (method.index(), method.name())).collect();
    assert_eq!(numbered, [(0, "kept"), (1, "either"), (2, "old")]);
}

/// The runtime under another name, a trait inside a function, one made by `macro_rules!`.
mod places {
    pub(crate) use muxado_rpc as renamed;
}

#[tokio::test]
async fn the_crate_may_be_renamed() {
    use places::renamed;

    #[renamed::service(crate = "renamed", name = "places.Local", id = 0x10)]
    trait Local {
        #[method(name = "plus one")]
        async fn plus_one(&self, n: u8) -> u8;
    }

    struct Impl;

    impl Local for Impl {
        async fn plus_one(&self, n: u8) -> u8 {
            n + 1
        }
    }

    let client = LocalClient::new(LocalServer::new(Impl));
    assert_eq!(client.plus_one(1).await.unwrap(), 2);
    let info = <LocalServer<Impl> as renamed::NamedService>::INFO;
    assert_eq!(
        (info.name(), info.id().as_u32(), info.methods()[0].name()),
        ("places.Local", 0x10, "plus one")
    );
}

macro_rules! made_by_a_macro {
    ($service:ident, $method:ident, $argument:ident: $ty:ty) => {
        #[muxado_rpc::service]
        trait $service {
            async fn $method(&self, $argument: $ty, other: u8) -> $ty;
            async fn fallible(&self, $argument: $ty) -> Result<$ty, $ty> {
                self.$method($argument, 1).await;
                Err($argument)
            }
        }
    };
}

made_by_a_macro!(Made, make, thing: u8);

#[tokio::test]
async fn a_macro_may_make_the_trait() {
    struct Impl;

    impl Made for Impl {
        async fn make(&self, thing: u8, other: u8) -> u8 {
            thing + other
        }
    }

    let client = MadeClient::new(MadeServer::new(Impl));
    assert_eq!(client.make(1, 2).await.unwrap(), 3);
    assert!(matches!(client.fallible(4).await, Err(CallError::App(4))));
}
