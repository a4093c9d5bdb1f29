//! `railyard plan --format html`, opened in a browser: what is seen is what the plan says.

use crate::browser::Browser;
use crate::project::Project;
use crate::project::registry::{digest, tool};
use serde_json::{Value, json};

const MANIFEST: &str = r#"
schema = 1
[project]
name = "acme"
repository = "registry.test/acme"
[axes.runtime]
values = [{ name = "node20", base = "sam.test/node:20" }, { name = "node22", base = "sam.test/node:22" }]
[axes.region]
values = ["eu", "us"]
[axes.edition]
values = ["small", "large"]
[layers.tool]
downloads = [{ url = "https://files.test/tool", path = "/opt/tool" }]
[layers.hostile]
run = { image = "{{ runtime.base }}", script = "echo '</script><b id=owned>&lt;<img src=https://evil.test/>'", keep = ["/opt/x"] }
[layers.region]
files = [{ path = "/etc/region", content = "{{ region }}" }]
[images.base]
axes = ["runtime"]
base = "{{ runtime.base }}"
tags = ["{{ runtime }}"]
layers = ["tool", "hostile"]
[images.app]
axes = ["runtime", "region", "edition"]
base = { image = "base" }
tags = ["{{ runtime }}-{{ region }}-{{ edition }}"]
layers = ["region"]
exclude = [{ runtime = "node22", region = "us", edition = "small" }]
[images.single]
base = "scratch"
tags = ["1"]
layers = ["tool"]
"#;

/// Plans, keeps the page and opens it.
#[track_caller]
fn open(project: &Project, arguments: &[&str]) -> Browser {
    let page = project.run(&[&["plan", "--format", "html"], arguments].concat()).code(0).out;
    project.write("plan.html", &page);
    let browser = Browser::start();
    browser.open(&address(project));
    browser
}

fn address(project: &Project) -> String {
    format!("file://{}", project.path("plan.html").display())
}

/// Asserts that the page asked for nothing but itself, and that nothing went wrong in it.
#[track_caller]
fn quiet(browser: &Browser, project: &Project) {
    assert_eq!(browser.console(), Vec::<String>::new());
    assert_eq!(browser.requests(), [address(project)]);
}

/// Heads and squares of every image's table.
fn tables(browser: &Browser) -> Value {
    browser.evaluate(
        r##"
        const label = (cell) => cell.tagName === "TH" ? cell.textContent : cell.firstChild.getAttribute("aria-label");
        return [...document.querySelectorAll("#grids .image")].map((image) => ({
            title: image.querySelector("h3").textContent,
            heads: [...image.querySelectorAll("thead th")].map((head) => head.textContent),
            rows: [...image.querySelector("tbody").rows].map((row) => [...row.cells].map(label)),
        }));
    "##,
    )
}

fn square(name: &str) -> String {
    format!("button[data-cell='{name}']")
}

#[test]
fn the_matrix_is_a_grid_with_gaps() {
    let project = Project::new(MANIFEST);
    let browser = open(&project, &["--offline"]);
    let app = |runtime: &str, region: &str, edition: &str| {
        format!("app[runtime={runtime},region={region},edition={edition}]: run")
    };
    let expected = json!([
        { "title": "base 2 cells", "heads": ["runtime ↓"], "rows": [
            ["node20", "base[runtime=node20]: run"], ["node22", "base[runtime=node22]: run"],
        ] },
        { "title": "app 7 cells",
          "heads": ["region →", "eu", "us", "edition →", "small", "large", "small", "large", "runtime ↓"],
          "rows": [
            ["node20", app("node20", "eu", "small"), app("node20", "eu", "large"),
             app("node20", "us", "small"), app("node20", "us", "large")],
            ["node22", app("node22", "eu", "small"), app("node22", "eu", "large"),
             "no such cell", app("node22", "us", "large")],
        ] },
        { "title": "single 1 cell", "heads": [], "rows": [["single: run"]] },
    ]);
    assert_eq!(tables(&browser), expected);
    let head = browser.text("#head");
    for text in ["acme", "linux/amd64", "10 run", "no history"] {
        assert!(head.contains(text), "`{text}`: {head}");
    }
    quiet(&browser, &project);
}

#[test]
fn labels_are_text_whatever_they_hold() {
    let project = Project::new(MANIFEST);
    let browser = open(&project, &["--offline"]);
    let label = "echo '</script><b id=owned>&lt;<img src=https://evil.test/>'";
    assert!(browser.text("#steps").contains(label), "{}", browser.text("#steps"));
    browser.click(&square("base[runtime=node20]"));
    browser.wait_until("return !document.getElementById('panel').hidden");
    assert!(browser.text("#panel .layers").contains(label), "{}", browser.text("#panel"));
    let strange = "return document.querySelectorAll('#owned, img, script:not([id]) ~ script').length";
    assert_eq!(browser.evaluate(strange), 0);
    quiet(&browser, &project);
}

#[test]
fn the_policy_stops_what_is_added_to_the_page() {
    let project = Project::new(MANIFEST);
    let browser = open(&project, &["--offline"]);
    quiet(&browser, &project);
    let added = "<script>document.title = 'owned'</script><img src=\"http://127.0.0.1:9/image\"></body>";
    project.write("plan.html", &project.read("plan.html").replace("</body>", added));
    browser.open(&address(&project));
    assert_eq!(browser.evaluate("return document.title"), "acme: plan");
    let said = browser.console().join("\n");
    for stopped in
        ["Executing inline script violates", "Loading the image 'http://127.0.0.1:9/image' violates"]
    {
        assert!(said.contains(stopped), "{stopped}: {said}");
    }
    // Without a policy the request is seen: the check that nothing is fetched can fail.
    let bare = project.read("plan.html").replace("Content-Security-Policy", "x");
    project.write("plan.html", &bare);
    browser.open(&address(&project));
    assert_eq!(browser.evaluate("return document.title"), "owned");
    assert!(browser.requests().contains(&"http://127.0.0.1:9/image".to_owned()));
}

#[test]
fn a_square_opens_its_cell_by_mouse_keyboard_and_address() {
    let project = Project::new(MANIFEST);
    let browser = open(&project, &["--offline"]);
    let name = "app[runtime=node22,region=us,edition=large]";
    let shown = |name: &str| {
        browser.wait_until(&format!("return document.getElementById('panel-name')?.textContent === '{name}'"))
    };

    browser.click(&square(name));
    shown(name);
    let panel = browser.text("#panel");
    for text in ["registry.test/acme/app:node22-us-large", "base[runtime=node22]", "region: ", "run"] {
        assert!(panel.contains(text), "`{text}`: {panel}");
    }
    assert!(browser.address().contains("#cell=app%5Bruntime%3Dnode22"), "{}", browser.address());

    // Its steps are marked: those that it needs, and no others.
    let marked = |kind: &str| {
        let count = "return [...document.querySelectorAll('#graph .node.in title')].filter((t) => t.textContent.startsWith('KIND: ')).length";
        browser.evaluate(&count.replace("KIND", kind))
    };
    assert_eq!((marked("assemble"), marked("push"), marked("tag")), (json!(2), json!(1), json!(1)));
    let drawn = browser.evaluate("return document.querySelectorAll('#graph .node').length");
    let steps =
        browser.evaluate("return JSON.parse(document.getElementById('plan').textContent).steps.length");
    assert_eq!(drawn, steps);
    assert_ne!(browser.evaluate("return document.querySelectorAll('#graph .edge.path').length"), 0);

    // Of cells that are the same image each has its own tag.
    browser.click(&square("app[runtime=node20,region=us,edition=large]"));
    shown("app[runtime=node20,region=us,edition=large]");
    assert_eq!((marked("assemble"), marked("tag")), (json!(2), json!(1)));
    browser.click(&square(name));
    shown(name);

    // Escape closes it and goes back to the square, arrows go on, Enter opens the next.
    browser.type_into(&square(name), "\u{E00C}");
    assert_eq!(browser.evaluate("return document.getElementById('panel').hidden"), true);
    assert!(!browser.address().contains('#'), "{}", browser.address());
    browser.type_into(&square(name), "\u{E013}");
    let focused = browser.evaluate("return document.activeElement.dataset.cell");
    assert_eq!(focused, "app[runtime=node20,region=us,edition=large]");
    browser.type_into(&square(focused.as_str().unwrap()), "\u{E007}");
    shown(focused.as_str().unwrap());

    browser.open(&format!("{}#cell=single", address(&project)));
    shown("single");
    browser.console();
}

#[test]
fn the_filter_keeps_what_it_finds() {
    let project = Project::new(MANIFEST);
    let browser = open(&project, &["--offline"]);
    browser.type_into("#filter", "node22 us");
    browser.wait_until("return document.getElementById('matches').textContent === '1 of 10 cells'");
    let found = tables(&browser);
    assert_eq!(found[0]["title"], "app 7 cells");
    assert_eq!(found[0]["rows"], json!([["node22", "app[runtime=node22,region=us,edition=large]: run"]]));
    quiet(&browser, &project);
}

#[test]
fn a_supposed_change_is_said_and_marked() {
    let project = Project::new(MANIFEST);
    let browser = open(&project, &["--offline", "--if", "axis=region+ap"]);
    let said = browser.text("#what-if");
    for text in ["axis=region+ap", "0 changed, 4 added, 0 removed, 10 untouched"] {
        assert!(said.contains(text), "`{text}`: {said}");
    }
    let marked = browser.evaluate("return document.querySelectorAll('#grids .square.touched').length");
    assert_eq!(marked, 4);
    quiet(&browser, &project);
}

#[test]
fn statuses_and_reasons_are_those_of_the_registry() {
    let manifest = |colors: &str| {
        format!(
            r#"
[axes.color]
values = [{colors}]
[axes.size]
values = ["small", "large"]
[layers.own]
files = [{{ path = "/color", content = "{{{{ color.text }}}} {{{{ size }}}}" }}]
[images.app]
axes = ["color", "size"]
base = "scratch"
tags = ["{{{{ color }}}}-{{{{ size }}}}"]
layers = ["own"]
exclude = [{{ color = "blue", size = "large" }}]
"#
        )
    };
    let red = r#"{ name = "red", text = "red" }"#;
    let project = crate::project::registry::project(&manifest(&format!(
        r#"{red}, {{ name = "blue", text = "blue" }}"#
    )));
    project.push(&[]).all("built");
    let later =
        format!(r#"{red}, {{ name = "blue", text = "other" }}, {{ name = "green", text = "green" }}"#);
    let head = "schema = 1\n[project]\nname = \"t\"\nrepository = \"$REPO\"\n";
    project.write("builds.toml", &(head.to_owned() + &manifest(&later)));
    tool("crane", &["copy", &project.fill("$BASE"), &project.fill("$REPO/app:red-large")]);

    let browser = open(&project, &[]);
    let squares = json!([
        ["red", "app[color=red,size=small]: current", "app[color=red,size=large]: foreign"],
        ["blue", "app[color=blue,size=small]: stale", "no such cell"],
        ["green", "app[color=green,size=small]: missing", "app[color=green,size=large]: missing"],
    ]);
    assert_eq!(tables(&browser)[0]["rows"], squares);
    assert!(
        browser.text("#head").contains("1 current, 1 stale, 2 missing, 1 foreign"),
        "{}",
        browser.text("#head")
    );

    let reasons = |name: &str| {
        browser.click(&square(name));
        browser
            .wait_until(&format!("return document.getElementById('panel-name')?.textContent === '{name}'"));
        browser.text("#panel .reasons")
    };
    let stale = reasons("app[color=blue,size=small]");
    assert!(stale.contains("A layer is defined otherwise: own"), "{stale}");
    let has = digest(&project.fill("$REPO/app:blue-small")).unwrap();
    let tags = browser.text("#panel .tags");
    assert!(tags.contains(&format!("{} → known when it is built", &has[..19])), "{tags}");
    assert!(reasons("app[color=green,size=small]").contains("A value is new on an axis"));
    assert!(reasons("app[color=red,size=large]").contains("Railyard did not make what the tag has"));

    assert_eq!(reasons("app[color=red,size=small]"), "");
    let has = digest(&project.fill("$REPO/app:red-small")).unwrap();
    assert_eq!(browser.text("#panel .expected"), has[..19]);
    assert!(browser.text("#panel .tags").contains("as expected"));
    assert_eq!(browser.requests(), [address(&project)]);
    assert_eq!(browser.console(), Vec::<String>::new());
}

#[test]
fn a_large_plan_is_a_table_and_draws_one_cell_at_a_time() {
    let values = |letter: &str| {
        let names: Vec<String> = (0..10).map(|n| format!("\"{letter}{n}\"")).collect();
        names.join(", ")
    };
    let project = Project::new(&format!(
        r#"
schema = 1
[project]
name = "large"
repository = "registry.test/large"
[axes]
a = {{ values = [{}] }}
b = {{ values = [{}] }}
c = {{ values = [{}] }}
[layers.own]
files = [{{ path = "/own", content = "{{{{ a }}}} {{{{ b }}}} {{{{ c }}}}" }}]
[images.app]
axes = ["a", "b", "c"]
base = "scratch"
tags = ["{{{{ a }}}}-{{{{ b }}}}-{{{{ c }}}}"]
layers = ["own"]
"#,
        values("a"),
        values("b"),
        values("c")
    ));
    let browser = open(&project, &["--offline"]);
    let count =
        |selector: &str| browser.evaluate(&format!("return document.querySelectorAll('{selector}').length"));
    assert_eq!((count("#grids button.square"), count("#graph svg")), (json!(1000), json!(0)));
    let note = browser.text("#graph-note");
    assert!(note.contains("open a cell to see its steps; all are too many to draw"), "{note}");
    browser.click(&square("app[a=a3,b=b1,c=c4]"));
    browser.wait_until("return document.querySelectorAll('#graph .node').length === 5");
    quiet(&browser, &project);
}
