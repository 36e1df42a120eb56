//! The kustomizations: they name files that exist, below their own folder, and leave no scenario out.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_norway::Value;

use super::manifests::{self, Manifest, repository, yaml_files};
use super::scenarios;

fn kustomizations() -> Vec<(PathBuf, Value)> {
    let mut files = yaml_files(&repository().join("k8s"));
    files.push(repository().join("scenarios/kustomization.yaml"));
    files.retain(|path| path.file_name().is_some_and(|name| name == "kustomization.yaml"));
    files
        .into_iter()
        .map(|path| (path.clone(), serde_norway::from_str(&fs::read_to_string(path).unwrap()).unwrap()))
        .collect()
}

fn strings<'a>(value: &'a Value, key: &str) -> Vec<&'a str> {
    let list = value.get(key).and_then(Value::as_sequence).map(Vec::as_slice).unwrap_or_default();
    list.iter().map(|item| item.as_str().unwrap()).collect()
}

/// The files of the ConfigMap `bench-scenarios`, as the generator names them.
fn generated_files() -> Vec<String> {
    let text = fs::read_to_string(repository().join("scenarios/kustomization.yaml")).unwrap();
    let kustomization: Value = serde_norway::from_str(&text).unwrap();
    let generator = &kustomization["configMapGenerator"][0];
    assert_eq!(generator["name"].as_str(), Some("bench-scenarios"));
    strings(generator, "files").into_iter().map(str::to_owned).collect()
}

#[test]
fn kustomizations_name_what_exists_below_their_folder() {
    let known = [
        "apiVersion",
        "kind",
        "namespace",
        "resources",
        "components",
        "patches",
        "images",
        "replacements",
        "configMapGenerator",
        "generatorOptions",
    ];
    let all = kustomizations();
    assert!(all.len() >= 7);
    for (path, value) in all {
        let folder = path.parent().unwrap();
        for key in value.as_mapping().unwrap().keys() {
            assert!(known.contains(&key.as_str().unwrap()), "{}: {key:?}", path.display());
        }
        for resource in strings(&value, "resources").into_iter().chain(strings(&value, "components")) {
            let target = folder.join(resource);
            // A folder may lie anywhere, a file only below the kustomization: kustomize's load restrictor.
            let found = if target.is_dir() {
                target.join("kustomization.yaml").is_file()
            } else {
                is_inside(resource) && target.is_file()
            };
            assert!(found, "{}: {resource}", path.display());
        }
        for patch in value.get("patches").and_then(Value::as_sequence).into_iter().flatten() {
            let file = patch["path"].as_str().unwrap();
            assert!(is_inside(file) && folder.join(file).is_file(), "{}: {file}", path.display());
        }
    }
}

fn is_inside(path: &str) -> bool {
    !Path::new(path)
        .components()
        .any(|part| matches!(part, std::path::Component::ParentDir | std::path::Component::RootDir))
}

#[test]
fn the_config_map_holds_every_scenario_and_its_input_files() {
    let folder = repository().join("scenarios");
    let mut expected = BTreeSet::new();
    for path in scenarios::paths() {
        expected.insert(path.file_name().unwrap().to_str().unwrap().to_owned());
        expected.extend(scenarios::inputs(&scenarios::read(&path)).into_iter().map(|(file, _)| file));
    }
    let files = generated_files();
    assert_eq!(files.iter().cloned().collect::<BTreeSet<_>>(), expected);
    let bytes: u64 = files.iter().map(|file| fs::metadata(folder.join(file)).unwrap().len()).sum();
    assert!(bytes < 512 * 1024, "{bytes} B: a ConfigMap holds 1 MiB");
}

#[test]
fn scenarios_find_their_input_files_in_the_pod() {
    let files = generated_files();
    for run in manifests::runs() {
        let volumes = run.pod().volumes.as_deref().unwrap_or_default();
        let scenarios = volumes.iter().find(|volume| volume.name == "scenarios").unwrap();
        let sources = scenarios.projected.as_ref().unwrap().sources.as_deref().unwrap_or_default();
        let maps: Vec<_> = sources.iter().map(|source| source.config_map.as_ref().unwrap()).collect();
        assert!(maps.iter().all(|map| map.name.starts_with("bench-scenarios")));
        let keys: BTreeSet<_> = files.iter().map(|file| file.rsplit('/').next().unwrap()).collect();
        let mut present: BTreeSet<String> = BTreeSet::new();
        for map in maps {
            match &map.items {
                None => present.extend(keys.iter().map(|key| (*key).to_owned())),
                Some(items) => {
                    assert!(
                        items.iter().all(|item| keys.contains(item.key.as_str())),
                        "{}: a key nobody makes",
                        run.origin
                    );
                    present.extend(items.iter().map(|item| item.path.clone()));
                }
            }
        }
        for file in &files {
            assert!(present.contains(file), "{}: {file} is not in {present:?}", run.origin);
        }
    }
}

#[test]
fn rendered_manifests_hold_the_scenarios_they_name() {
    let rendered = manifests::rendered();
    if rendered.is_empty() {
        eprintln!("skipped: BENCH_K8S_RENDERED is not set (.ci/k8s.sh sets it)");
    }
    for (origin, objects) in rendered {
        let mut maps = Vec::new();
        let mut names = BTreeSet::new();
        for object in objects {
            match object {
                Manifest::ConfigMap(map) => maps.push(map),
                other => {
                    let Some(run) = manifests::as_run(origin.clone(), other) else { continue };
                    let sources = run.pod().volumes.iter().flatten().filter_map(|volume| volume.projected.as_ref());
                    names.extend(
                        sources
                            .flat_map(|source| source.sources.clone().unwrap())
                            .map(|source| source.config_map.unwrap().name),
                    );
                }
            }
        }
        let [name] = &names.into_iter().collect::<Vec<_>>()[..] else { panic!("{origin}: one ConfigMap of scenarios") };
        let map = maps.iter().find(|map| map.metadata.name.as_ref() == Some(name)).unwrap();
        let data = map.data.as_ref().unwrap();
        for file in generated_files() {
            let text = fs::read_to_string(repository().join("scenarios").join(&file)).unwrap();
            assert_eq!(data[file.rsplit('/').next().unwrap()], text, "{origin}: {file}");
        }
    }
}
