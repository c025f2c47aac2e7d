/// The kinds of lines this program folds. A line of another kind is *unknown*: kept on the tape, counted, ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    Run,
    Alpha,
    Pnl,
    Price,
    Command,
    Policy,
    Check,
    Reserve,
    Release,
}

impl Kind {
    pub const ALL: [Kind; 9] = [
        Kind::Run,
        Kind::Alpha,
        Kind::Pnl,
        Kind::Price,
        Kind::Command,
        Kind::Policy,
        Kind::Check,
        Kind::Reserve,
        Kind::Release,
    ];

    /// The kind as it stands in the field `kind`, in labels and in counts.
    pub const fn name(self) -> &'static str {
        match self {
            Kind::Run => "run",
            Kind::Alpha => "alpha",
            Kind::Pnl => "pnl",
            Kind::Price => "price",
            Kind::Command => "command",
            Kind::Policy => "policy",
            Kind::Check => "check",
            Kind::Reserve => "reserve",
            Kind::Release => "release",
        }
    }

    /// The kind of that exact name; names are case-sensitive.
    pub fn from_name(name: &str) -> Option<Kind> {
        // A comparison of a few bytes each: every line asks.
        match name {
            "run" => Some(Kind::Run),
            "alpha" => Some(Kind::Alpha),
            "pnl" => Some(Kind::Pnl),
            "price" => Some(Kind::Price),
            _ => Kind::ALL.into_iter().find(|kind| kind.name() == name),
        }
    }

    /// Lines of these kinds count only in the control stream, which only runtape appends to.
    pub const fn is_control(self) -> bool {
        matches!(self, Kind::Command | Kind::Policy | Kind::Check | Kind::Reserve | Kind::Release)
    }
}
