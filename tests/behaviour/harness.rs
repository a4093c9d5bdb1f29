//! Commands for Harness, as far as they are refused before anybody is asked.

use crate::project::Project;

#[test]
fn two_keys_are_one_too_many() {
    let mut project = Project::new("schema = 1\n[project]\nname = \"p\"\n");
    project.set("HARNESS_API_KEY", "hunter22");
    project.set("HARNESS_TOKEN", "hunter23");
    let image = format!("localhost:1/d:1@sha256:{}", "1".repeat(64));
    for words in [
        &["ci-images", "diff", "--account", "a", "--url", "http://127.0.0.1:1"][..],
        &["mirror", "--ci-images", "default", "--to", "localhost:1/acme", "--account", "a"],
        &["delegate", "pin", &image, "--account", "a", "--url", "http://127.0.0.1:1"],
    ] {
        let ended = project.run(words).code(2);
        ended.says(&["HARNESS_API_KEY and HARNESS_TOKEN are both set", "unset one of them"]);
    }
}

#[test]
fn an_address_that_is_none_is_not_shown() {
    let mut project = Project::new("schema = 1\n[project]\nname = \"p\"\n");
    project.set("HARNESS_API_KEY", "key");
    let words = ["ci-images", "diff", "--account", "a", "--url", "https://ann:hunter22@h:port"];
    let ended = project.run(&words).code(2).says(&["the API's URL is no URL"]);
    assert!(!ended.err.contains("hunter22"), "{}", ended.err);
}

#[test]
fn a_cell_whose_tags_have_a_time_is_there_and_means_no_image() {
    let project = Project::new(
        "schema = 1\n[project]\nname = \"p\"\nrepository = \"localhost:1/acme\"\n\
         [images.app]\nbase = \"scratch\"\ntags = [\"1-{{ timestamp }}\"]\n",
    );
    let ended = project.run(&["delegate", "manifest", "app"]).code(2).says(&[
        "its tags have the time of a run; give a whole reference, like `localhost:1/acme/app:1-YYYYMMDDHHMMSS`",
    ]);
    assert!(!ended.err.contains("there is no cell"), "{}", ended.err);
}
