//! `bench init`.

use super::Desk;

/// Names of `bench init --list`.
fn names(desk: &Desk) -> Vec<String> {
    let list = desk.bench(&["init", "--list"]).code(0);
    assert!(list.out.lines().all(|line| line.chars().count() <= 100), "{}", list.out);
    let own_line = |line: &&str| !line.starts_with(' ');
    list.out.lines().filter(own_line).map(|line| line.split_whitespace().next().unwrap().to_owned()).collect()
}

#[test]
fn every_template_is_a_scenario() {
    let desk = Desk::new();
    let names = names(&desk);
    assert!(names.len() >= 10 && names.contains(&"latency-curve".to_owned()), "{names:?}");
    for name in names {
        let file = format!("{name}.toml");
        desk.bench(&["init", &name]).code(0).says(&format!("wrote {file}")).says(&format!("bench apply {file}"));
        let text = desk.read(&file);
        assert!(text.starts_with("# "), "{name} does not say what it is for");
        assert!(!text.contains("../schema"), "{name} names a schema that the user does not have");
        desk.bench(&["validate", "--deny-warnings", &file]).code(0);
        let plan = desk.bench(&["plan", &file]).code(0).shows(" new: ");
        assert!(!plan.out.contains('?'), "{name}: an estimate is missing: {}", plan.out);
    }
}

#[test]
fn nothing_is_overwritten() {
    let desk = Desk::new();
    desk.write("smoke.toml", "mine");
    desk.bench(&["init", "smoke"]).code(64).says("`smoke.toml` exists already").says("-o FILE");
    assert_eq!(desk.read("smoke.toml"), "mine");
    desk.bench(&["init", "smoke", "-o", "deep/er/other.toml"]).code(0);
    desk.bench(&["validate", "deep/er/other.toml"]).code(0);
    // A data file of the user's with the name of ours stays as well.
    desk.write("data/conversations.json", "[]");
    desk.bench(&["init", "sharegpt"]).code(64).says("data/conversations.json");
    assert_eq!(desk.read("data/conversations.json"), "[]");
}

#[test]
fn data_comes_with_its_template() {
    let desk = Desk::new();
    desk.bench(&["init", "sharegpt", "--output", "in/mine.toml"]).code(0).says("wrote in/data/conversations.json");
    desk.bench(&["validate", "in/mine.toml"]).code(0);
    // The same data again is no conflict.
    desk.bench(&["init", "sharegpt", "-o", "in/again.toml"]).code(0);
}

#[test]
fn stdout_is_a_target() {
    let desk = Desk::new();
    let shown = desk.bench(&["init", "quickstart", "-o", "-"]).code(0).shows("schema = 1");
    assert!(shown.err.is_empty() && desk.files(".").is_empty(), "{shown:?}");
    desk.bench(&["init", "quickstart"]).code(0);
    assert_eq!(desk.read("quickstart.toml"), shown.out);
}

#[test]
fn unknown_templates_are_named() {
    let desk = Desk::new();
    desk.bench(&["init", "quikstart"]).code(64).says("did you mean `quickstart`?");
    desk.bench(&["init", "zzz"]).code(64).says("`latency-curve`");
}
