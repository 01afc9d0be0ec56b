//! Who may know whom: no import of the crates runs upward. The order is that of `ARCHITECTURE.md` ("Code map").
//!
//! A room is a module right below the root of a crate, with all that is in it. Read are the sources themselves: the
//! trees of `use` and the paths that begin with `crate`, `self` or `super`. Names at the root stand for the rooms
//! that they are re-exported from. Unit tests may look anywhere.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    fs,
    path::{Path, PathBuf},
};

/// Rooms that may import one another.
type Group = &'static [&'static str];

/// A crate and its rooms, from the top. Groups that share a floor know nothing of each other.
struct Crate {
    name: &'static str,
    floors: &'static [&'static [Group]],
}

const CRATES: [Crate; 4] = [
    Crate {
        name: "muxado",
        floors: &[
            &[&[
                "session",
                "stream",
                "split",
                "typed",
                "heartbeat",
                "control",
                "rpc",
                "listener",
                "connector",
            ]],
            &[&["driver"]],
            &[&["shared"]],
            // Limits and errors speak of frames, frames of limits and errors.
            &[&["proto", "config", "error"], &["sync"]],
            &[&["log_limit"]],
        ],
    },
    Crate {
        name: "muxado-rpc",
        floors: &[
            &[&["__private"], &["testing"], &["guide"]],
            &[&["telemetry"]],
            &[&["layers"]],
            &[&["server"], &["client"]],
            &[&["connection"]],
            &[&["stream"]],
            &[&["wire"], &["schema"]],
            &[&["message"]],
            &[&["codec"]],
            &[&["transport"]],
            &[&["support"]],
        ],
    },
    Crate {
        name: "muxado-rpc-macros",
        floors: &[
            &[&["expand"], &["app_error"]],
            &[&["lenient"]],
            &[&["model", "validate", "attr"]],
            &[&["types"], &["conditional"]],
        ],
    },
    Crate {
        name: "muxado-cli",
        floors: &[
            &[&["cli", "commands", "bench"]],
            &[&["request"]],
            &[&["connect"], &["params"]],
            &[&["catalog"], &["input"], &["serve"]],
            &[&["types"], &["headers"]],
            // Output is JSON in colours.
            &[&["output", "json"], &["tap"]],
            &[&["exit"], &["suggest"], &["options"]],
        ],
    },
];

#[test]
fn no_import_runs_upward() {
    let mut found = String::new();
    for layout in &CRATES {
        let sources = Sources::read(layout);
        for import in sources.imports() {
            let (from, to) = (layout.place(&import.from), layout.place(&import.to));
            if from.floor > to.floor || from.floor == to.floor && from.group != to.group {
                let Import { file, line, path, from, to } = &import;
                let _ = writeln!(found, "{}: {from} knows {to}\n  {file}:{line}: {path}", layout.name);
            }
        }
    }
    assert!(found.is_empty(), "imports that run upward or aside:\n{found}");
}

#[test]
fn every_room_has_its_place_and_every_place_a_room() {
    for layout in &CRATES {
        let rooms: BTreeSet<_> = Sources::read(layout).rooms;
        let placed: BTreeSet<_> = layout
            .floors
            .iter()
            .copied()
            .flatten()
            .copied()
            .flatten()
            .map(|room| (*room).to_owned())
            .collect();
        assert_eq!(rooms, placed, "the rooms of {} and those with a place", layout.name);
    }
}

#[test]
fn an_import_that_runs_upward_is_seen_in_any_form() {
    let root =
        "pub use self::{server::{Server, accept::Accept as Taking}, codec::Codec};\npub type Local = u8;";
    let exports = exports(&tokens(root));
    let read = |text: &str| {
        let mut targets = Vec::new();
        for path in paths(&tokens(text)) {
            targets.extend(room_of(&path, &["message".to_owned(), "limits".to_owned()], &exports));
        }
        targets
    };
    assert_eq!(read("use crate::server::Server;"), ["server"]);
    assert_eq!(
        read("use crate::{Codec, connection::{a::B, c}, Taking};"),
        ["codec", "connection", "connection", "server"]
    );
    assert_eq!(read("fn f() -> crate::wire::Error { super::super::stream::g() }"), ["wire", "stream"]);
    assert_eq!(read("pub(crate) fn f(); pub(in crate::stream) fn g() {}"), ["stream"]);
    assert_eq!(read("use self::send::A; use super::B; let c: crate::Local;"), ["message", "message"]);
    assert_eq!(read("// crate::a::b\n/* crate::c */ \"crate::d\" '\"' r#\"crate::e\"# crate::f::g"), ["f"]);
}

impl Crate {
    fn root(&self) -> PathBuf {
        [env!("CARGO_MANIFEST_DIR"), "..", self.name, "src"].iter().collect()
    }

    /// Where a room is, counted from the ground, so that an import runs downward if it runs to a lower floor.
    fn place(&self, room: &str) -> Place {
        for (floor, groups) in self.floors.iter().enumerate() {
            for (group, rooms) in groups.iter().enumerate() {
                if rooms.contains(&room) {
                    return Place { floor, group };
                }
            }
        }
        panic!("{}: the room `{room}` has no place in the table", self.name)
    }
}

struct Place {
    /// Counted from the top.
    floor: usize,
    group: usize,
}

/// A path that leads from one room to another.
struct Import {
    file: String,
    line: usize,
    path: String,
    from: String,
    to: String,
}

/// The files of a crate, as the tokens in them.
struct Sources {
    /// With the path of its module.
    files: Vec<(PathBuf, Vec<String>, Vec<Token>)>,
    rooms: BTreeSet<String>,
    /// The rooms that the names at the root come from.
    exports: BTreeMap<String, String>,
}

impl Sources {
    fn read(layout: &Crate) -> Self {
        let root = layout.root();
        let text = fs::read_to_string(root.join("lib.rs")).expect("a crate has a lib.rs");
        let lib = without_tests(tokens(&text));
        let (rooms, exports) = (modules(&lib), exports(&lib));
        let mut sources = Self { files: Vec::new(), rooms, exports };
        sources.gather(&root, &mut Vec::new());
        sources
    }

    fn gather(&mut self, dir: &Path, module: &mut Vec<String>) {
        for entry in fs::read_dir(dir).expect("a directory of sources") {
            let path = entry.expect("an entry of it").path();
            let name = path.file_stem().and_then(|stem| stem.to_str()).expect("a name").to_owned();
            if path.is_dir() {
                let hidden = name == "private" && module.is_empty();
                module.push(if hidden { "__private".to_owned() } else { name });
                self.gather(&path, module);
                module.pop();
                continue;
            }
            let is_module = path.extension().is_some_and(|extension| extension == "rs");
            if !is_module || name == "lib" || name == "tests" {
                continue;
            }
            let mut module = module.clone();
            match &*name {
                "mod" => {}
                "private" if module.is_empty() => module.push("__private".to_owned()),
                _ => module.push(name),
            }
            if self.rooms.contains(&module[0]) {
                let text = fs::read_to_string(&path).expect("a file of text");
                self.files.push((path, module, without_tests(tokens(&text))));
            }
        }
    }

    fn imports(&self) -> Vec<Import> {
        let mut imports = Vec::new();
        for (file, module, tokens) in &self.files {
            for path in paths(tokens) {
                let Some(to) = room_of(&path, module, &self.exports) else { continue };
                if to != module[0] && self.rooms.contains(&to) {
                    let (file, from) = (file.display().to_string(), module[0].clone());
                    imports.push(Import { file, line: path.line, path: path.segments.join("::"), from, to });
                }
            }
        }
        imports
    }
}

/// A word, `::` or one other character, and its line.
#[derive(Clone, Debug, PartialEq)]
struct Token {
    text: String,
    line: usize,
}

/// A path in the sources, with the trees of `use` taken apart.
#[derive(Clone, Debug)]
struct Found {
    segments: Vec<String>,
    line: usize,
}

/// The room that a path leads to; `None` if it stays at the root or leads out of the crate.
fn room_of(path: &Found, module: &[String], exports: &BTreeMap<String, String>) -> Option<String> {
    let mut segments = path.segments.iter();
    let mut at = match &**segments.next()? {
        "crate" => Vec::new(),
        "self" => module.to_vec(),
        "super" => module[..module.len() - 1].to_vec(),
        _ => return None,
    };
    for segment in segments {
        match &**segment {
            "super" => drop(at.pop()),
            name => {
                at.push(name.to_owned());
                break;
            }
        }
    }
    let first = at.first()?;
    match exports.get(first) {
        Some(room) => Some(room.clone()),
        // A type of the root itself is nobody's.
        None => first.starts_with(|char: char| char.is_lowercase() || char == '_').then(|| first.clone()),
    }
}

/// The modules that a root declares, but for those of tests.
fn modules(lib: &[Token]) -> BTreeSet<String> {
    let mut modules = BTreeSet::new();
    for three in lib.windows(3) {
        if three[0].text == "mod" && three[2].text == ";" {
            modules.insert(three[1].text.clone());
        }
    }
    modules
}

/// What a root re-exports, by the names there.
fn exports(lib: &[Token]) -> BTreeMap<String, String> {
    let mut exports = BTreeMap::new();
    for at in 0..lib.len() {
        if lib[at].text == "use" && lib.get(at + 1).is_some_and(|next| next.text == "self") {
            for leaf in tree(&lib[at + 1..]) {
                if let (Some(room), Some(name)) = (leaf.segments.get(1), leaf.segments.last()) {
                    let name = if name == "self" { room } else { name };
                    exports.insert(name.clone(), room.clone());
                }
            }
        }
    }
    exports
}

/// All paths that begin with `crate`, `self` or `super`.
fn paths(tokens: &[Token]) -> Vec<Found> {
    let mut found = Vec::new();
    for at in 0..tokens.len() {
        let begins = matches!(&*tokens[at].text, "crate" | "self" | "super");
        let goes_on = tokens.get(at + 1).is_some_and(|next| next.text == "::");
        if begins && goes_on && (at == 0 || tokens[at - 1].text != "::") {
            found.extend(tree(&tokens[at..]));
        }
    }
    found
}

/// The leaves of the tree of paths that begins here: `a::{b, c::d as e}` has `a::b` and `a::c::e`.
fn tree(tokens: &[Token]) -> Vec<Found> {
    let mut leaves = Vec::new();
    branch(tokens, 0, &[], &mut leaves);
    leaves
}

/// Reads a branch and returns where it ends.
fn branch(tokens: &[Token], mut at: usize, before: &[String], leaves: &mut Vec<Found>) -> usize {
    let mut segments = before.to_vec();
    let line = tokens.get(at).map_or(0, |token| token.line);
    while let Some(token) = tokens.get(at) {
        if token.text == "{" {
            at += 1;
            while tokens.get(at).is_some_and(|token| token.text != "}") {
                at = branch(tokens, at, &segments, leaves);
                if tokens.get(at).is_some_and(|token| token.text == ",") {
                    at += 1;
                }
            }
            return at + 1;
        }
        if !token.text.starts_with(|char: char| char.is_alphanumeric() || char == '_') {
            return at + 1;
        }
        segments.push(token.text.clone());
        at += 1;
        match tokens.get(at).map(|token| &*token.text) {
            Some("::") => at += 1,
            Some("as") => {
                segments.pop();
                segments.extend(tokens.get(at + 1).map(|name| name.text.clone()));
                at += 2;
                break;
            }
            _ => break,
        }
    }
    leaves.push(Found { segments, line });
    at
}

/// The tokens without what is compiled for tests only.
fn without_tests(tokens: Vec<Token>) -> Vec<Token> {
    const MARK: [&str; 7] = ["#", "[", "cfg", "(", "test", ")", "]"];
    let mut kept = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let is_marked =
            MARK.iter().enumerate().all(|(n, text)| tokens.get(at + n).is_some_and(|t| t.text == *text));
        if !is_marked {
            kept.push(tokens[at].clone());
            at += 1;
            continue;
        }
        // The item that is marked ends with a semicolon, or the brace that closes its first.
        let mut depth = 0;
        while let Some(token) = tokens.get(at) {
            at += 1;
            match &*token.text {
                "{" => depth += 1,
                "}" => depth -= 1,
                ";" if depth == 0 => break,
                _ => continue,
            }
            if depth == 0 {
                break;
            }
        }
    }
    kept
}

/// Takes a text apart; comments and literals are left out.
fn tokens(text: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let (mut rest, mut line) = (text, 1);
    while let Some(char) = rest.chars().next() {
        let taken = match char {
            _ if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            _ if rest.starts_with("/*") => rest.find("*/").map_or(rest.len(), |end| end + 2),
            _ if rest.starts_with("r\"") || rest.starts_with("r#\"") || rest.starts_with("br#\"") => {
                raw_string(rest)
            }
            '"' => string(rest),
            '\'' => character(rest),
            _ if char.is_alphanumeric() || char == '_' => {
                let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
                tokens.push(Token { text: rest[..end].to_owned(), line });
                end
            }
            _ if rest.starts_with("::") => {
                tokens.push(Token { text: "::".to_owned(), line });
                2
            }
            _ if char.is_whitespace() => char.len_utf8(),
            _ => {
                tokens.push(Token { text: char.to_string(), line });
                char.len_utf8()
            }
        };
        line += rest[..taken].matches('\n').count();
        rest = &rest[taken..];
    }
    tokens
}

fn string(rest: &str) -> usize {
    let mut is_escaped = false;
    let end = rest.char_indices().skip(1).find(|(_, char)| {
        let ends = *char == '"' && !is_escaped;
        is_escaped = *char == '\\' && !is_escaped;
        ends
    });
    end.map_or(rest.len(), |(at, _)| at + 1)
}

fn raw_string(rest: &str) -> usize {
    let (start, close) =
        if rest.starts_with("r\"") { (2, "\"") } else { (rest.find('"').unwrap_or(0) + 1, "\"#") };
    rest[start..].find(close).map_or(rest.len(), |end| start + end + close.len())
}

/// A literal of one character, or the tick of a lifetime.
fn character(rest: &str) -> usize {
    let mut chars = rest.char_indices().skip(1);
    match (chars.next(), chars.next()) {
        (Some((_, '\\')), Some(_)) => rest[3..].find('\'').map_or(rest.len(), |end| end + 4),
        (Some(_), Some((at, '\''))) => at + 1,
        _ => 1,
    }
}
