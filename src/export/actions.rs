//! A GitHub Actions workflow that runs `railyard build`, a job for each point of some axes.

use super::harness::{build, sign_in};
use super::jobs::{Group, Jobs, JobsError};
use super::yaml::Node;

/// As many jobs as GitHub makes of one matrix.
const MOST_JOBS: usize = 256;

/// The workflow as YAML; `manifest` is the manifest's path in the repository.
///
/// # Errors
/// More jobs than a matrix may have.
pub fn github_actions(jobs: &Jobs, manifest: &str, concurrency: u64) -> Result<String, JobsError> {
    for group in &jobs.groups {
        let product: usize = group.axes.iter().map(|(_, values)| values.len()).product();
        let count = product - group.exclude.len();
        if count > MOST_JOBS {
            return Err(JobsError::TooMany { image: group.images[0].clone(), count, most: MOST_JOBS });
        }
    }
    let shared = (!jobs.shared.is_empty()).then_some("shared");
    let mut all: Vec<(String, Node)> = Vec::new();
    if let Some(name) = shared {
        all.push((name.into(), job(jobs, manifest, &jobs.shared, None, concurrency, None)));
    }
    for (number, group) in jobs.groups.iter().enumerate() {
        let name = if jobs.groups.len() == 1 { "build".to_owned() } else { format!("build-{}", number + 1) };
        all.push((name, job(jobs, manifest, &group.images, Some(group), concurrency, shared)));
    }
    let inputs = jobs.variables.iter().map(|(name, value)| {
        let pairs = [
            ("description", Node::text(format!("Variable {name} of the manifest"))),
            ("required", Node::Bool(false)),
            ("default", Node::text(value)),
        ];
        (name.as_str(), Node::map(pairs))
    });
    let workflow = Node::map([
        ("name", Node::text(&jobs.project)),
        // Quoted, as YAML 1.1 reads `on` as true.
        ("on", Node::map([("workflow_dispatch", Node::map([("inputs", Node::map(inputs))]))])),
        ("permissions", Node::map([("contents", Node::text("read"))])),
        ("jobs", Node::Map(all)),
    ]);
    let head = "# Written by railyard. Set the variables RAILYARD_IMAGE and DOCKER_REGISTRY of the repository, and the\n\
        # secrets DOCKER_USERNAME and DOCKER_PASSWORD.\n";
    Ok(format!("{head}{}", workflow.render()))
}

fn job(
    jobs: &Jobs,
    manifest: &str,
    images: &[String],
    group: Option<&Group>,
    concurrency: u64,
    needs: Option<&str>,
) -> Node {
    let expression = |text: &str| Node::text(format!("${{{{ {text} }}}}"));
    let axes = group.map(|group| group.axes.as_slice()).unwrap_or_default();
    let mut job: Vec<(&str, Node)> = Vec::new();
    job.extend(needs.map(|needs| ("needs", Node::text(needs))));
    job.push(("runs-on", Node::text("ubuntu-latest")));
    // The runner's engine: its socket is in the container of a job.
    job.push(("container", Node::map([("image", expression("vars.RAILYARD_IMAGE"))])));
    if let Some(group) = group {
        let mut matrix: Vec<(&str, Node)> =
            axes.iter().map(|(axis, values)| (axis.as_str(), Node::texts(values))).collect();
        if !group.exclude.is_empty() {
            let row = |point: &Vec<(String, String)>| {
                Node::map(point.iter().map(|(axis, value)| (axis.as_str(), Node::text(value))))
            };
            matrix.push(("exclude", Node::List(group.exclude.iter().map(row).collect())));
        }
        let strategy = [
            ("fail-fast", Node::Bool(false)),
            ("max-parallel", Node::Number(concurrency)),
            ("matrix", Node::map(matrix)),
        ];
        job.push(("strategy", Node::map(strategy)));
    }
    let mut environment: Vec<(String, Node)> = vec![
        ("DOCKER_CONFIG".into(), Node::text("/tmp/docker-config")),
        (
            "DOCKER_REGISTRY".into(),
            Node::text(format!("${{{{ vars.DOCKER_REGISTRY || '{}' }}}}", jobs.registry)),
        ),
        ("DOCKER_USERNAME".into(), expression("secrets.DOCKER_USERNAME")),
        ("DOCKER_PASSWORD".into(), expression("secrets.DOCKER_PASSWORD")),
    ];
    environment.extend(
        jobs.variables.iter().map(|(name, _)| (format!("VAR_{name}"), expression(&format!("inputs.{name}")))),
    );
    environment.extend(
        axes.iter().map(|(axis, _)| (format!("MATRIX_{axis}"), expression(&format!("matrix.{axis}")))),
    );
    let mut script = vec!["set -e".to_owned()];
    script.extend(sign_in());
    script.push(build(jobs, manifest, images, axes));
    let checkout = Node::map([("uses", Node::text("actions/checkout@v4"))]);
    let run = Node::map([
        ("name", Node::text("railyard build")),
        ("id", Node::text("railyard")),
        ("shell", Node::text("sh")),
        ("env", Node::Map(environment)),
        ("run", Node::Block(script.join("\n"))),
    ]);
    let report = Node::map([
        ("if", Node::text("always()")),
        ("uses", Node::text("actions/upload-artifact@v4")),
        (
            "with",
            Node::map([
                ("name", Node::text(report_name(group))),
                ("path", Node::text("railyard-junit.xml")),
                ("if-no-files-found", Node::text("ignore")),
            ]),
        ),
    ]);
    job.push(("steps", Node::List(vec![checkout, run, report])));
    Node::map(job)
}

/// Distinct for each job: its point, or its number where upload-artifact refuses the values.
fn report_name(group: Option<&Group>) -> String {
    let axes = group.map(|group| group.axes.as_slice()).unwrap_or_default();
    let refused = |value: &String| value.contains(['"', ':', '<', '>', '|', '*', '?', '\r', '\n', '\\', '/']);
    let points: String = match axes.iter().flat_map(|(_, values)| values).any(refused) {
        true => "-${{ strategy.job-index }}".to_owned(),
        false => axes.iter().map(|(axis, _)| format!("-${{{{ matrix.{axis} }}}}")).collect(),
    };
    let image = group.map_or("shared", |group| group.images[0].as_str());
    format!("railyard-{image}{points}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(values: impl IntoIterator<Item = String>, exclude: usize) -> Group {
        let excluded = |n: usize| vec![("a".to_owned(), n.to_string())];
        Group {
            images: vec!["app".to_owned()],
            axes: vec![("a".to_owned(), values.into_iter().collect())],
            exclude: (0..exclude).map(excluded).collect(),
        }
    }

    #[test]
    fn reports_have_names_that_are_taken() {
        let name = |values: &[&str]| report_name(Some(&group(values.iter().map(|v| (*v).to_owned()), 0)));
        assert_eq!(name(&["1", "2.0"]), "railyard-app-${{ matrix.a }}");
        assert_eq!(name(&["1", "a:b/c"]), "railyard-app-${{ strategy.job-index }}");
        assert_eq!(report_name(None), "railyard-shared");
    }

    #[test]
    fn a_matrix_has_no_more_jobs_than_github_makes() {
        let jobs = |values: usize, exclude: usize| Jobs {
            project: "p".to_owned(),
            registry: "localhost:5000".to_owned(),
            variables: Vec::new(),
            shared: Vec::new(),
            groups: vec![group((0..values).map(|n| n.to_string()), exclude)],
            outputs: std::collections::BTreeSet::new(),
        };
        assert!(github_actions(&jobs(256, 0), "builds.toml", 4).is_ok());
        assert!(github_actions(&jobs(257, 1), "builds.toml", 4).is_ok());
        let error = github_actions(&jobs(257, 0), "builds.toml", 4).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the image `app` would have 257 jobs, of which GitHub makes 256 at most"
        );
    }
}
