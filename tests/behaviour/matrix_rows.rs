//! Product, zip, exclude and include against a naive model.

use proptest::prelude::*;
use railyard::manifest::{self, Sources};
use railyard::matrix::{Overrides, expand};

/// Rows of (axis, value) pairs.
type Row = Vec<(usize, usize)>;

#[derive(Debug, Clone)]
struct Case {
    /// Number of values of each axis.
    sizes: Vec<usize>,
    /// Whether the first two axes, then of equal length, are zipped.
    zipped: bool,
    exclude: Vec<Row>,
    include: Vec<Vec<usize>>,
}

fn case() -> impl Strategy<Value = Case> {
    (prop::collection::vec(1usize..4, 1..5), any::<bool>()).prop_flat_map(|(mut sizes, zipped)| {
        let zipped = zipped && sizes.len() > 1;
        if zipped {
            sizes[1] = sizes[0];
        }
        let axes = sizes.len();
        let pair = (0..axes, 0usize..3);
        let exclude = prop::collection::vec(prop::collection::vec(pair, 1..3), 0..4);
        let include = prop::collection::vec(prop::collection::vec(0usize..3, axes), 0..3);
        (Just(sizes), Just(zipped), exclude, include).prop_map(|(sizes, zipped, exclude, include)| {
            let within = |axis: usize, value: usize| value % sizes[axis];
            let exclude = exclude
                .into_iter()
                .map(|row| {
                    let mut row: Row = row.into_iter().map(|(a, v)| (a, within(a, v))).collect();
                    row.sort_unstable();
                    row.dedup_by_key(|(axis, _)| *axis);
                    row
                })
                .collect();
            let include = include
                .into_iter()
                .map(|row| row.into_iter().enumerate().map(|(a, v)| within(a, v)).collect())
                .collect();
            Case { sizes, zipped, exclude, include }
        })
    })
}

fn text(case: &Case) -> String {
    let mut text = String::from("schema = 1\n[project]\nname = \"p\"\n");
    for (axis, size) in case.sizes.iter().enumerate() {
        let values: Vec<String> = (0..*size).map(|v| format!("\"v{v}\"")).collect();
        text += &format!("[axes.a{axis}]\nvalues = [{}]\n", values.join(", "));
    }
    let axes: Vec<String> = (0..case.sizes.len()).map(|a| format!("\"a{a}\"")).collect();
    let tag: Vec<String> = (0..case.sizes.len()).map(|a| format!("{{{{ a{a} }}}}")).collect();
    let row = |pairs: &[(usize, usize)]| {
        let pairs: Vec<String> = pairs.iter().map(|(a, v)| format!("a{a} = \"v{v}\"")).collect();
        format!("{{ {} }}", pairs.join(", "))
    };
    let exclude: Vec<String> = case.exclude.iter().map(|r| row(r)).collect();
    let include: Vec<String> =
        case.include.iter().map(|r| row(&r.iter().copied().enumerate().collect::<Vec<_>>())).collect();
    text += &format!(
        "[images.i]\nbase = \"scratch\"\naxes = [{}]\ntags = [\"{}\"]\nexclude = [{}]\ninclude = [{}]\n",
        axes.join(", "),
        tag.join("-"),
        exclude.join(", "),
        include.join(", ")
    );
    if case.zipped {
        text += "zip = [[\"a0\", \"a1\"]]\n";
    }
    text
}

/// Every combination by counting, then what is zipped, excluded and included.
fn model(case: &Case) -> Vec<Vec<usize>> {
    let total: usize = case.sizes.iter().product();
    let mut cells: Vec<Vec<usize>> = Vec::new();
    for mut number in 0..total {
        let mut cell = vec![0; case.sizes.len()];
        for (axis, size) in case.sizes.iter().enumerate().rev() {
            cell[axis] = number % size;
            number /= size;
        }
        let out = case.exclude.iter().any(|row| row.iter().all(|(axis, value)| cell[*axis] == *value));
        if !(out || case.zipped && cell[0] != cell[1]) {
            cells.push(cell);
        }
    }
    for row in &case.include {
        if !cells.contains(row) {
            cells.push(row.clone());
        }
    }
    cells
}

proptest! {
    #[test]
    fn cells_are_those_of_the_model(case in case()) {
        let mut sources = Sources::default();
        let text = text(&case);
        sources.add("builds.toml", text.as_str());
        let manifest = manifest::parse(sources).map_err(|(sources, found)| {
            TestCaseError::fail(format!("{text}\n{}", manifest::render_plain(&sources, &found)))
        })?;
        let expected: Vec<String> = model(&case)
            .iter()
            .map(|cell| {
                let pairs: Vec<String> = cell.iter().enumerate().map(|(a, v)| format!("a{a}=v{v}")).collect();
                format!("i[{}]", pairs.join(","))
            })
            .collect();
        match expand(&manifest, &Overrides::default()) {
            Ok(matrix) => {
                let found: Vec<String> = matrix.cells.iter().map(|c| c.name.clone()).collect();
                prop_assert_eq!(&found, &expected);
                let mut references: Vec<String> = matrix.cells.iter().map(|c| c.references[0].to_string()).collect();
                references.sort();
                references.dedup();
                prop_assert_eq!(references.len(), expected.len());
            }
            Err(found) => {
                prop_assert!(expected.is_empty(), "{}", manifest::render_plain(&manifest.sources, &found));
                prop_assert_eq!(found.0[0].code, "no-cells");
            }
        }
    }
}
