//! `bench validate`.

use super::{Desk, SCENARIO};
use serde_json::json;

/// Two mistakes each, in different places.
fn two_bad_files() -> Desk {
    let desk = Desk::with_scenario();
    desk.write("a.toml", &SCENARIO.replace("rate_per_s = 50", "rate_per_sec = 50"));
    desk.write("b.toml", &SCENARIO.replace("\"synthetic\"", "\"synthetik\"").replace("seed = 7", "sead = 7"));
    desk
}

#[test]
fn every_mistake_of_every_file_for_people() {
    let desk = two_bad_files();
    let ended = desk.bench(&["validate", "a.toml", "tried.toml", "b.toml"]).code(65);
    assert_eq!(ended.out, "tried.toml: ok, 1 point\n");
    for text in [
        "--> a.toml:24:1",
        "did you mean `rate_per_s`?",
        "--> b.toml:3:1",
        "did you mean `seed`?",
        "did you mean `synthetic`?",
        "^^^^",
    ] {
        assert!(ended.err.contains(text), "no {text:?}: {}", ended.err);
    }
    assert!(!ended.err.contains('\u{1b}'), "no colour into a pipe");
}

#[test]
fn every_mistake_of_every_file_as_json() {
    let desk = two_bad_files();
    let ended = desk.bench(&["validate", "--format", "json", "a.toml", "b.toml"]).code(65);
    let found = ended.json_lines();
    let of = |file: &str| found.iter().filter(|line| line["file"] == file).count();
    assert!(of("a.toml") >= 1 && of("b.toml") >= 2, "{found:#?}");
    let sead = found.iter().find(|line| line["message"].as_str().unwrap().contains("sead")).unwrap();
    assert_eq!((&sead["line"], &sead["column"], &sead["code"]), (&json!(3), &json!(1), &json!("B0201")));
    assert!(ended.err.is_empty(), "{}", ended.err);
    let fine = desk.bench(&["validate", "--format", "json", "tried.toml"]).code(0);
    assert!(fine.out.is_empty(), "no finding, no line: {}", fine.out);
}

#[test]
fn every_mistake_of_every_file_for_github() {
    let desk = two_bad_files();
    let ended = desk.bench(&["validate", "--format", "github", "a.toml", "b.toml"]).code(65);
    assert!(ended.out.lines().count() >= 3);
    for line in ended.out.lines() {
        assert!(line.starts_with("::error file="), "{line}");
    }
    assert!(ended.out.contains("file=b.toml,line=3,col=1,"), "{}", ended.out);
}

#[test]
fn an_unknown_kind_is_one_mistake_not_two() {
    let desk = Desk::new();
    let sweep = "\n[[sweep]]\naxis = \"load.rate_per_s\"\nvalues = [1, 2]\n";
    desk.write("x.toml", &(SCENARIO.replace("\"constant\"", "\"konstant\"") + sweep));
    let found = desk.bench(&["validate", "--format", "json", "x.toml"]).code(65).json_lines();
    let codes: Vec<_> = found.iter().map(|line| line["code"].as_str().unwrap()).collect();
    assert_eq!(codes, ["B0203"], "what the table may hold is nobody's mistake until its kind is known");
}

#[test]
fn files_that_are_none() {
    let desk = Desk::with_scenario();
    std::fs::create_dir(desk.path("folder")).unwrap();
    desk.bench(&["validate", "nowhere.toml"]).code(65).says("there is no file `nowhere.toml`");
    desk.bench(&["validate", "folder"]).code(65).says("`folder` is a folder").says("folder/*.toml");
    // The others are checked all the same.
    desk.bench(&["validate", "nowhere.toml", "tried.toml"]).code(65).shows("tried.toml: ok");
    desk.bench(&["plan", "folder"]).code(65).says("`folder` is a folder");
    desk.bench(&["apply", "nowhere.json"]).code(65).says("there is no file `nowhere.json`");
}

#[test]
fn warnings_count_only_when_asked() {
    let desk = Desk::with_scenario();
    desk.write(
        "unused.toml",
        &format!("{SCENARIO}\n[backends.spare]\nprotocol = \"openai-chat\"\nurl = \"http://h:1\"\n"),
    );
    desk.bench(&["validate", "unused.toml"]).code(0).says("warning[").says("spare");
    desk.bench(&["validate", "--deny-warnings", "unused.toml"]).code(65).says("spare");
    desk.bench(&["validate", "--deny-warnings", "tried.toml"]).code(0);
}

#[test]
fn color_is_a_choice() {
    let desk = two_bad_files();
    assert!(desk.bench(&["validate", "--color", "always", "a.toml"]).code(65).err.contains('\u{1b}'));
    assert!(!desk.bench(&["validate", "--color", "never", "a.toml"]).code(65).err.contains('\u{1b}'));
    // An explicit choice beats the variable.
    let desk = two_bad_files().var("NO_COLOR", "1");
    assert!(desk.bench(&["validate", "--color", "always", "a.toml"]).code(65).err.contains('\u{1b}'));
    assert!(!desk.bench(&["validate", "a.toml"]).code(65).err.contains('\u{1b}'));
}

#[test]
fn set_changes_what_is_checked() {
    let desk = Desk::with_scenario();
    desk.bench(&["validate", "tried.toml", "--set", "load.rate_per_s=4"]).code(0);
    desk.bench(&["validate", "tried.toml", "--set", "load.rate_per_s=-4"]).code(65).says("--set #1");
}

#[test]
fn the_environment_is_checked_on_demand() {
    let with_key = SCENARIO.replace("tiny?jitter=0\"", "tiny?jitter=0\"\napi_key = { env = \"CLI_TEST_KEY\" }");
    let desk = Desk::new();
    desk.write("key.toml", &with_key);
    desk.bench(&["validate", "key.toml"]).code(0);
    desk.bench(&["validate", "--env", "key.toml"]).code(78).says("CLI_TEST_KEY");
    let desk = Desk::new().var("CLI_TEST_KEY", "sk-canary-value");
    desk.write("key.toml", &with_key);
    let fine = desk.bench(&["validate", "--env", "key.toml"]).code(0);
    assert!(!format!("{fine:?}").contains("canary"));
    // A scenario that is wrong wins over an environment that is not ready.
    desk.write("bad.toml", "schema = 1\n");
    desk.bench(&["validate", "--env", "key.toml", "bad.toml"]).code(65);
}

#[test]
fn a_simulator_that_would_not_start_is_no_environment() {
    let desk = Desk::new();
    for (url, text) in [("sim:9000b", "profiles: "), ("sim:tiny?jiter=0", "jiter")] {
        desk.write("sim.toml", &SCENARIO.replace("sim:tiny?jitter=0", url));
        desk.bench(&["validate", "--env", "sim.toml"]).code(78).says("backends.main").says(text);
    }
    desk.write("sim.toml", SCENARIO);
    desk.bench(&["validate", "--env", "sim.toml"]).code(0);
}

#[cfg(unix)]
#[test]
fn more_users_than_descriptors_are_refused() {
    let desk = Desk::new();
    let users = "kind = \"users\"\nusers = 400";
    desk.write("users.toml", &SCENARIO.replace("kind = \"constant\"\nrate_per_s = 50", users));
    let bench = desk.command::<&str>(&[]);
    let mut limited = std::process::Command::new("sh");
    limited.args(["-c", "ulimit -n 200 && exec \"$0\" \"$@\""]).arg(bench.get_program());
    limited.args(["validate", "--env", "users.toml"]).current_dir(desk.folder.path());
    super::ended(&mut limited).code(78).says("400 connections").says("ulimit");
    desk.bench(&["validate", "users.toml"]).code(0);
}

/// The scenario with another load.
fn loaded(load: &str) -> String {
    SCENARIO.replace("kind = \"constant\"\nrate_per_s = 50", load)
}

#[test]
fn rates_beyond_every_core_are_refused_in_each_format() {
    let desk = Desk::new();
    // 92 cores at least; a machine that has them passes.
    desk.write("fast.toml", &loaded("kind = \"constant\"\nrate_per_s = 1000000"));
    if std::thread::available_parallelism().is_ok_and(|cores| cores.get() > 64) {
        return eprintln!("SKIPPED: this machine has cores for a million requests a second");
    }
    let human = desk.bench(&["validate", "--env", "fast.toml"]).code(78);
    human
        .says("error: point ")
        .says("asks for 1000000 requests/s with 4000000 streamed tokens/s")
        .says("lower the rate");
    let json = desk.bench(&["validate", "--env", "--format", "json", "fast.toml"]).code(78).json_lines();
    let cores = json.iter().find(|line| line["check"] == "cores").unwrap();
    assert_eq!((&cores["severity"], &cores["file"]), (&json!("error"), &json!("fast.toml")));
    assert!(cores["message"].as_str().unwrap().contains("92.0 cores or more"), "{cores}");
    let github = desk.bench(&["validate", "--env", "--format", "github", "fast.toml"]).code(78);
    github.shows("::error file=fast.toml,title=environment cores::point ");
    // Nobody asked about the machine.
    desk.bench(&["validate", "fast.toml"]).code(0);
}

#[cfg(target_os = "linux")]
#[test]
fn a_hundred_thousand_users_have_no_ports() {
    let desk = Desk::new();
    desk.write("many.toml", &loaded("kind = \"users\"\nusers = 100000"));
    desk.bench(&["validate", "--env", "many.toml"])
        .code(78)
        .says("asks for 100000 connections at once")
        .says("ephemeral ports to one server");
}

#[cfg(unix)]
#[test]
fn what_may_not_work_is_a_warning() {
    let desk = Desk::new();
    // 400 of 200 allowed, if the server is slow enough; it need not be.
    desk.write("open.toml", &loaded("kind = \"constant\"\nrate_per_s = 50\nmax_in_flight = { limit = 400 }"));
    let limited = |arguments: &[&str]| {
        let bench = desk.command::<&str>(&[]);
        let mut limited = std::process::Command::new("sh");
        limited.args(["-c", "ulimit -n 200 && exec \"$0\" \"$@\""]).arg(bench.get_program());
        limited.args(arguments).current_dir(desk.folder.path());
        super::ended(&mut limited)
    };
    let warned = limited(&["validate", "--env", "open.toml"]).code(0);
    warned.says("warning: point ").says("allows 400 connections at once (`max_in_flight`)").says("may open 200 files");
    limited(&["validate", "--env", "--deny-warnings", "open.toml"]).code(78);
    let github = limited(&["validate", "--env", "--format", "github", "open.toml"]).code(0);
    github.shows("::warning file=open.toml,title=environment descriptors::");
}

#[test]
fn pins_are_written_and_nothing_else() {
    let desk = Desk::new();
    desk.bench(&["init", "sharegpt"]).code(0);
    let pinned = desk.read("sharegpt.toml");
    let at = pinned.find(", sha256 = \"").unwrap();
    let digest = pinned[at + 12..at + 12 + 64].to_owned();
    let unpinned = pinned.replace(&format!(", sha256 = \"{digest}\""), "");
    // Odd spacing, comments and line ends are the author's.
    let odd = unpinned.replace("seed = 9\n", "seed   =  9 # why nine\r\n");
    desk.write("odd.toml", &odd);
    desk.bench(&["validate", "--pin", "odd.toml"]).code(0).says("pinned odd.toml").shows("odd.toml: ok");
    let written = desk.read("odd.toml");
    assert!(written.contains(&digest), "{written}");
    let without_pin: String =
        written.lines().zip(odd.lines()).map(|(new, old)| if new == old { "" } else { new }).collect();
    assert!(without_pin.contains("sha256") && !without_pin.contains("seed"), "only the dataset's line changed");
    assert_eq!(written.lines().count(), odd.lines().count());
    assert!(written.contains("seed   =  9 # why nine\r\n"));
    desk.bench(&["validate", "--pin", "odd.toml"]).code(0).says("nothing to pin in odd.toml");
    assert_eq!(desk.read("odd.toml"), written, "a second time changes no byte");
    // A pin that is out of date is an error, until it is renewed.
    desk.replace("data/conversations.json", "the", "The");
    desk.bench(&["validate", "odd.toml"]).code(65).says("B0803");
    desk.bench(&["validate", "--pin", "odd.toml"]).code(0).says("pinned");
    assert!(!desk.read("odd.toml").contains(&digest));
}

/// A trace that a class replays is an input, too.
#[test]
fn the_trace_of_a_class_is_pinned() {
    let desk = Desk::with_scenario();
    desk.write("t.csv", "offset_s\n1\n2\n");
    let class = "\n[[traffic]]\nname = \"replayed\"\nbackend = \"main\"\nworkload = \"chat\"\nload = { kind = \"trace\", path = \"t.csv\", \
                 at_end = \"loop\" }\n";
    desk.write("apart.toml", &format!("{SCENARIO}{class}"));
    desk.bench(&["validate", "--pin", "apart.toml"]).code(0).says("pinned apart.toml").shows("apart.toml: ok");
    assert!(desk.read("apart.toml").contains("path = \"t.csv\", sha256 = \""), "{}", desk.read("apart.toml"));
    desk.write("t.csv", "offset_s\n1\n3\n");
    desk.bench(&["validate", "apart.toml"]).code(65).says("B0803");
}

#[test]
fn pinning_what_has_no_input_says_so() {
    let desk = Desk::with_scenario();
    desk.bench(&["validate", "--pin", "tried.toml"]).code(0).says("names no input file");
    assert_eq!(desk.read("tried.toml"), SCENARIO);
}
