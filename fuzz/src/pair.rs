//! Two sessions joined by pipes, against a small model of what each stream must carry.

mod end;
mod world;

use arbitrary::{Arbitrary, Unstructured};

use self::world::World;

/// One step, by one of the sides.
#[derive(Arbitrary, Clone, Copy, Debug)]
enum Step {
    Push { side: bool, most: u16 },
    Pull { side: bool, most: u16 },
    Flush { times: u8 },
    Open { side: bool },
    Accept { side: bool },
    Write { stream: u8, side: bool, len: u16 },
    Finish { stream: u8, side: bool },
    Read { stream: u8, side: bool, most: u16 },
    Rare { what: Rare, stream: u8, side: bool, chance: u8 },
}

/// Where the chance of a go-away or a cut is missed, a control stream is opened or taken: a step of its own would
/// change what older inputs mean.
#[derive(Arbitrary, Clone, Copy, Debug)]
enum Rare {
    Reset,
    Drop,
    StopReading,
    Announce,
    Wait,
    Heartbeat,
    GoAway,
    Close,
    Cut,
}

/// The first bytes choose the settings; the rest is steps.
pub fn pair(data: &[u8]) {
    let mut input = Unstructured::new(data);
    let mut world = World::new(&mut input);
    let trace = std::env::var_os("MUXADO_FUZZ_TRACE").is_some();
    while !input.is_empty() {
        let Ok(step) = Step::arbitrary(&mut input) else { break };
        if trace {
            eprintln!("{step:?}");
        }
        apply(&mut world, step);
    }
    world.run_out();
    world.check_nothing_is_stuck();
    world.drop_all();
}

fn apply(world: &mut World, step: Step) {
    match step {
        Step::Push { side, most } => drop(world.push(side.into(), most.into())),
        Step::Pull { side, most } => drop(world.pull(side.into(), most.into())),
        Step::Flush { times } => drop(world.flush(times.into())),
        Step::Open { side } => world.open(side.into()),
        Step::Accept { side } => drop(world.accept(side.into())),
        Step::Write { stream, side, len } => {
            if let Some(tag) = world.tag(stream) {
                world.want(tag, side.into(), len.into());
                world.write(tag, side.into());
            }
        }
        Step::Finish { stream, side } => {
            if let Some(tag) = world.tag(stream) {
                world.finish(tag, side.into());
                world.write(tag, side.into());
            }
        }
        Step::Read { stream, side, most } => {
            if let Some(tag) = world.tag(stream) {
                world.read(tag, side.into(), most.into());
            }
        }
        Step::Rare { what, stream, side, chance } => rare(world, what, stream, side.into(), chance),
    }
}

fn rare(world: &mut World, what: Rare, stream: u8, side: usize, chance: u8) {
    let tag = world.tag(stream);
    match (what, tag) {
        (Rare::Reset, Some(tag)) => world.drop_handle(tag, side, Some(u32::from(chance))),
        (Rare::Drop, Some(tag)) => world.drop_handle(tag, side, None),
        (Rare::StopReading, Some(tag)) => world.stop_reading(tag, side),
        (Rare::Announce, Some(tag)) => world.announce(tag, side),
        (Rare::Wait, _) => world.pass(u64::from(chance % 8)),
        (Rare::Heartbeat, _) => world.start_heartbeat(side),
        (Rare::GoAway, _) if chance < 40 => world.go_away(side),
        (Rare::GoAway, _) => world.open_control(side),
        (Rare::Close, _) if chance < 20 => world.close_when_sent(side),
        (Rare::Cut, _) if chance < 20 => world.cut(),
        (Rare::Cut, _) => drop(world.accept_control(side)),
        _ => {}
    }
}
