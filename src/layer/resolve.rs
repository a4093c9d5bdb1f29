//! Following symbolic links inside a root.

use super::{LayerError, TreePath};

/// The most links followed for one path (as containerd's `fs.RootPath`).
const LIMIT: usize = 255;

/// Follows the links of `path` in a tree whose links `link_at` knows: it is asked for paths
/// without links, in order, and returns what the link there says.
///
/// Absolute targets start at the root, `..` of the root is the root, and components that do not
/// exist stay as written.
///
/// # Errors
/// [`LayerError::LinkLoop`] after 255 links.
pub(crate) fn resolve(
    path: &TreePath,
    follow_last: bool,
    mut link_at: impl FnMut(&TreePath) -> Option<Vec<u8>>,
) -> Result<TreePath, LayerError> {
    let mut real = TreePath::root();
    let mut rest: Vec<Vec<u8>> = path.components().rev().map(<[u8]>::to_vec).collect();
    let mut links = 0;
    while let Some(name) = rest.pop() {
        match name.as_slice() {
            b"" | b"." => continue,
            b".." => {
                real = real.parent().unwrap_or_default();
                continue;
            }
            _ => {}
        }
        let next = real.join(&name);
        if rest.is_empty() && !follow_last {
            return Ok(next);
        }
        let Some(target) = link_at(&next) else {
            real = next;
            continue;
        };
        links += 1;
        if links > LIMIT {
            return Err(LayerError::LinkLoop { path: path.to_string() });
        }
        if target.starts_with(b"/") {
            real = TreePath::root();
        }
        rest.extend(target.split(|b| *b == b'/').rev().map(<[u8]>::to_vec));
    }
    Ok(real)
}
