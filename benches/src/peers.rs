//! The peers, a file each.

mod capnp_rpc;
mod connectrpc;
mod h2;
mod io;
mod jsonrpsee;
mod muxado;
mod muxado_fused;
mod muxado_rpc;
mod ngrok_muxado;
mod quinn;
mod raw_tcp;
mod remoc;
mod rust_yamux;
mod tarpc;
mod tokio_yamux;
mod tonic;
#[cfg(feature = "vox")]
mod vox;

use crate::{
    peer::{Entry, Layer},
    workload::Workload,
};

/// All of them, ours first, in the order in which they take turns.
pub(crate) const ALL: &[Entry] = &[
    muxado_rpc::ENTRY,
    Entry::of::<muxado::Muxado>(),
    Entry::of::<muxado_fused::MuxadoFused>(),
    Entry::of::<raw_tcp::RawTcp>(),
    Entry::of::<tarpc::TarpcMessagepack>(),
    Entry::of::<tarpc::TarpcBincode>(),
    Entry::of::<tarpc::TarpcJson>(),
    Entry::of::<tonic::Tonic>(),
    Entry::of::<jsonrpsee::Jsonrpsee>(),
    Entry::of::<remoc::Remoc>(),
    Entry::of::<capnp_rpc::CapnpRpc>(),
    Entry::of::<connectrpc::Connectrpc>(),
    #[cfg(feature = "vox")]
    Entry::of::<vox::Vox>(),
    Entry::of::<ngrok_muxado::NgrokMuxado>(),
    Entry::of::<rust_yamux::RustYamux>(),
    Entry::of::<tokio_yamux::TokioYamux>(),
    Entry::of::<h2::H2>(),
    Entry::of::<quinn::Quinn>(),
];

/// Those that are there only with a feature of their name.
pub(crate) const OPTIONAL: &[&str] = &["vox"];

/// Those that a quick run has no time for.
pub(crate) const NOT_QUICK: &[&str] = &["connectrpc", "vox"];

/// How many of the list are ours.
const OURS: usize = 3;

/// Whether a peer is one of ours.
pub(crate) fn is_ours(name: &str) -> bool {
    ALL[..OURS].iter().any(|ours| ours.name == name)
}

/// Which of ours a peer is compared with in a workload.
pub(crate) fn counterpart(entry: &Entry, workload: Workload) -> Option<&'static str> {
    let ours = &ALL[..OURS];
    let mut candidates = ours.iter().filter(|ours| (ours.runs)(workload));
    let found = candidates.find(|ours| entry.layer == Layer::Transport || ours.layer == entry.layer);
    found.filter(|ours| ours.name != entry.name).map(|ours| ours.name)
}

/// What every peer with calls runs in the codec that it has.
fn runs_any_calls(workload: Workload) -> bool {
    matches!(
        workload,
        Workload::Payload { .. }
            | Workload::Both { .. }
            | Workload::Connect
            | Workload::IdleBeside { .. }
            | Workload::Conns { .. }
            | Workload::IdleCall
            | Workload::Mixed
            | Workload::IdleSession
    )
}

/// What every peer with calls in a binary codec runs.
fn runs_calls(workload: Workload) -> bool {
    runs_any_calls(workload) || matches!(workload, Workload::Unary { .. } | Workload::Cancel { .. })
}

/// What peers run with a time limit on both sides: one connection in other ways than `unary`, and many of them.
fn runs_calls_in_time(workload: Workload) -> bool {
    matches!(workload, Workload::Clone { .. } | Workload::Open { .. } | Workload::Fleet { .. })
}

/// What peers run whose handlers wait.
fn runs_waiting_calls(workload: Workload) -> bool {
    matches!(workload, Workload::Hop { .. } | Workload::Sleep { .. })
}

/// What every peer runs whose calls stream items both ways.
fn runs_items(workload: Workload) -> bool {
    matches!(workload, Workload::Items | Workload::BidiItems)
}

/// What peers run whose items are a stream of the handler's, which may be one that is always ready.
fn runs_items_of_streams(workload: Workload) -> bool {
    runs_items(workload) || workload == Workload::ItemsChannel
}

/// What peers with calls over TLS run.
fn runs_calls_over_tls(workload: Workload) -> bool {
    workload.has_tls()
}

/// What every peer with calls in JSON runs.
fn runs_json_calls(workload: Workload) -> bool {
    matches!(workload, Workload::UnaryJson { .. })
}

/// What every peer with streams runs.
fn runs_streams(workload: Workload) -> bool {
    matches!(
        workload,
        Workload::Streams { .. }
            | Workload::Echo { .. }
            | Workload::Mixed
            | Workload::Link { .. }
            | Workload::IdleBeside { .. }
            | Workload::Conns { .. }
            | Workload::IdleStream
            | Workload::IdleSession
    )
}
