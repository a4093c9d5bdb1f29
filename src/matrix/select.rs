//! `--only image=serverless,runtime=python3.*`: a choice of cells.

use globset::{Glob, GlobMatcher};

use super::Matrix;
use crate::manifest::nearest;

/// A choice of cells: any of the alternatives, each of which is a list of conditions.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    alternatives: Vec<Vec<(String, GlobMatcher)>>,
}

/// A selection that cannot be meant.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum SelectionError {
    /// Not `key=glob`.
    #[error("`{0}` is not `image=GLOB` or `AXIS=GLOB`")]
    Form(String),
    /// A glob that does not parse.
    #[error("`{0}` is not a glob: {1}")]
    Glob(String, String),
    /// A key that is neither `image` nor an axis.
    #[error("`{key}` is neither `image` nor an axis of the matrix{}", nearest.as_ref().map(|n| format!("; did you mean `{n}`?")).unwrap_or_default())]
    Unknown {
        /// The key.
        key: String,
        /// The nearest known one.
        nearest: Option<String>,
    },
    /// Nothing is left.
    #[error("no cell matches `{0}`")]
    Empty(String),
}

impl Selection {
    /// Parses the values of `--only`; values are alternatives, commas join conditions.
    ///
    /// # Errors
    /// When a condition has another form than `key=glob`.
    pub fn parse(values: &[String]) -> Result<Self, SelectionError> {
        let alternatives = values
            .iter()
            .map(|value| value.split(',').map(|c| Self::condition(c.trim())).collect())
            .collect::<Result<_, _>>()?;
        Ok(Self { alternatives })
    }

    fn condition(text: &str) -> Result<(String, GlobMatcher), SelectionError> {
        let (key, glob) = text.split_once('=').ok_or_else(|| SelectionError::Form(text.into()))?;
        let matcher = Glob::new(glob)
            .map_err(|e| SelectionError::Glob(glob.into(), e.kind().to_string()))?
            .compile_matcher();
        Ok((key.trim().to_owned(), matcher))
    }

    /// For each cell whether it is chosen; every cell where nothing was asked for.
    ///
    /// # Errors
    /// When a key is unknown or an alternative matches no cell.
    pub fn choose(&self, matrix: &Matrix) -> Result<Vec<bool>, SelectionError> {
        if self.alternatives.is_empty() {
            return Ok(vec![true; matrix.cells.len()]);
        }
        let mut chosen = vec![false; matrix.cells.len()];
        for conditions in &self.alternatives {
            for (key, _) in conditions {
                known(matrix, key)?;
            }
            let mut any = false;
            for (cell, chosen) in matrix.cells.iter().zip(&mut chosen) {
                let fits = conditions.iter().all(|(key, glob)| {
                    if key == "image" {
                        return glob.is_match(&*cell.image);
                    }
                    cell.coordinates.iter().any(|(axis, value)| &**axis == key && glob.is_match(&**value))
                });
                *chosen |= fits;
                any |= fits;
            }
            if !any {
                let text: Vec<String> =
                    conditions.iter().map(|(key, glob)| format!("{key}={}", glob.glob())).collect();
                return Err(SelectionError::Empty(text.join(",")));
            }
        }
        Ok(chosen)
    }
}

fn known(matrix: &Matrix, key: &str) -> Result<(), SelectionError> {
    let mut names: Vec<&str> = vec!["image"];
    names.extend(matrix.cells.iter().flat_map(|c| c.coordinates.iter().map(|(axis, _)| &**axis)));
    if names.contains(&key) {
        return Ok(());
    }
    let nearest = nearest(key, names).map(str::to_owned);
    Err(SelectionError::Unknown { key: key.to_owned(), nearest })
}
