//! Permission bits and owners of files.

/// A change of permission bits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Chmod {
    /// Octal bits, replaced.
    Octal(u32),
    /// Symbolic clauses as in chmod(1), e.g. `u+x,go+rx`, in order.
    Symbolic(Vec<ChmodClause>),
}

/// One clause of a symbolic mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChmodClause {
    /// Bits 4 (user), 2 (group), 1 (others).
    pub who: u8,
    /// `+`, `-` or `=`.
    pub op: char,
    /// Bits 4 (read), 2 (write), 1 (execute).
    pub bits: u8,
    /// `X`: execute for directories and what is executable for somebody.
    pub execute_if_any: bool,
}

impl Chmod {
    /// The permission bits (lowest 12) after the change, as `COPY --chmod` of BuildKit has them:
    /// `X` looks at the bits before any clause, `u=` takes set-user-ID away and `g=` set-group-ID.
    pub fn apply(&self, mode: u32, is_dir: bool) -> u32 {
        let clauses = match self {
            Self::Octal(bits) => return *bits,
            Self::Symbolic(clauses) => clauses,
        };
        let executable = is_dir || mode & 0o111 != 0;
        clauses.iter().fold(mode & 0o7777, |mode, clause| {
            let mut bits = u32::from(clause.bits);
            if clause.execute_if_any && executable {
                bits |= 1;
            }
            let spread = |bits: u32| {
                [(4u8, 6u32), (2, 3), (1, 0)]
                    .into_iter()
                    .filter(|(who, _)| clause.who & who != 0)
                    .fold(0, |all, (_, shift)| all | bits << shift)
            };
            match clause.op {
                '+' => mode | spread(bits),
                '-' => mode & !spread(bits),
                _ => mode & !spread(7) & !(u32::from(clause.who & 6) << 9) | spread(bits),
            }
        })
    }
}

/// Numeric owner and group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    /// User id.
    pub uid: u64,
    /// Group id.
    pub gid: u64,
}
