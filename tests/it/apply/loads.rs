//! Loads that run side by side, and loops that end by themselves, from the scenario to the report.

use llm_bench::report::model::{PointReport, Report, Status};

use super::harness::{World, scenario};
use super::server::{Server, healthy};

fn point(world: &World) -> PointReport {
    let ran = world.apply(&["--format", "json"]).expect(0);
    let json: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap_or_else(|_| panic!("{ran:?}"));
    let report = Report::from_slice(json["report"].to_string().as_bytes()).unwrap();
    assert_eq!((report.status, report.points.len()), (Status::Complete, 1));
    report.points[0].clone()
}

#[test]
fn classes_side_by_side_have_rates_of_their_own() {
    let server = Server::healthy();
    let text = scenario(&server.url(), "", "", "{ duration = \"2s\" }", "").replace(
        "workload = \"short\"\n\n",
        "workload = \"short\"\nload = { kind = \"constant\", rate_per_s = 20 }\n\n\
         [[traffic]]\nname = \"batch\"\nbackend = \"main\"\nworkload = \"short\"\n\
         load = { kind = \"burst\", size = 5, every = \"500ms\" }\n\n",
    );
    let point = point(&World::new(&text));
    // 2 s × 20, and bursts of 5 at 0, 0.5, 1 and 1.5 s.
    let planned = |class: &str| point.classes[class].outcomes.planned;
    assert_eq!((planned("all"), planned("batch"), point.outcomes.planned), (40, 20, 60));
    assert_eq!(point.outcomes.completed, 60);
    let offered = |class: &str| point.classes[class].rates.offered_per_s;
    assert_eq!((offered("all"), offered("batch"), point.rates.offered_per_s), (Some(20.0), Some(10.0), Some(30.0)));
    assert!(!point.sum_broken());
}

#[test]
fn a_class_has_a_bound_of_its_own() {
    let server = Server::start(|seen| {
        if seen.method == "POST" {
            std::thread::sleep(std::time::Duration::from_millis(400));
        }
        healthy(seen)
    });
    let text = scenario(&server.url(), "", "", "{ duration = \"2s\" }", "[errors]\nmax_share = 1.0\n").replace(
        "workload = \"short\"\n\n",
        "workload = \"short\"\nload = { kind = \"burst\", size = 20, \
         max_in_flight = { limit = 2, when_full = \"drop\" } }\n\n\
         [[traffic]]\nname = \"free\"\nbackend = \"main\"\nworkload = \"short\"\n\
         load = { kind = \"burst\", size = 20 }\n\n",
    );
    let point = point(&World::new(&text));
    let (bound, free) = (point.classes["all"].outcomes, point.classes["free"].outcomes);
    assert_eq!((free.planned, free.completed), (20, 20), "{free:?}");
    assert_eq!((bound.planned, bound.completed + bound.not_sent), (20, 20), "{bound:?}");
    // Two at a time, of 20 that come at one instant.
    assert!(bound.completed >= 2 && bound.not_sent >= 5, "{bound:?}");
}

#[test]
fn users_with_a_number_of_requests_end_the_window() {
    let server = Server::healthy();
    let load = "[load]\nkind = \"users\"\nusers = 3\nrequests_per_user = 4\n\
                think_law = { kind = \"uniform\", min = \"1ms\", max = \"5ms\" }\n";
    let point = point(&World::new(&scenario(&server.url(), "", load, "{ duration = \"10m\" }", "")));
    assert_eq!((point.outcomes.planned, point.outcomes.completed), (12, 12));
    let ended_s = point.window.duration_s;
    assert!(ended_s > 0.0 && ended_s < 300.0, "{ended_s}");
}

#[test]
fn sessions_of_classes_side_by_side_do_not_mix() {
    let session = "[workloads.short.session]\nturns = { kind = \"fixed\", value = 4 }\nhistory = \"server\"\n\
                   next_input_tokens = { kind = \"fixed\", value = 16 }\n";
    let text = scenario("sim:tiny?jitter=0&speed=100", "", "", "{ duration = \"2s\" }", session)
        .replace("openai-completions", "openai-chat")
        .replace(
            "workload = \"short\"\n\n",
            "workload = \"short\"\nload = { kind = \"burst\", size = 5 }\n\n\
             [[traffic]]\nname = \"other\"\nbackend = \"main\"\nworkload = \"short\"\n\
             load = { kind = \"burst\", size = 5 }\n\n",
        );
    let point = point(&World::new(&text));
    // Both number their sessions from 0: five sessions of four requests each.
    for class in ["all", "other"] {
        let outcomes = &point.classes[class].outcomes;
        assert_eq!((outcomes.planned, outcomes.completed), (20, 20), "{class}");
    }
}
