//! A value for each kind of carrier.

use warp_protocol::carrier::PathKind;

const KINDS: usize = PathKind::ALL.len();

/// At most one value of each kind. A map would do; this is looked into with every datagram.
#[derive(Debug)]
pub(crate) struct ByKind<T>([Option<T>; KINDS]);

impl<T> Default for ByKind<T> {
    fn default() -> Self {
        Self([const { None }; KINDS])
    }
}

fn place(kind: PathKind) -> usize {
    match kind {
        PathKind::Direct => 0,
        PathKind::Host => 1,
        PathKind::Wss => 2,
        PathKind::Host2 => 3,
        PathKind::Tcp => 4,
    }
}

impl<T> ByKind<T> {
    pub(crate) fn get(&self, kind: PathKind) -> Option<&T> {
        self.0[place(kind)].as_ref()
    }

    pub(crate) fn get_mut(&mut self, kind: PathKind) -> Option<&mut T> {
        self.0[place(kind)].as_mut()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.iter().all(Option::is_none)
    }

    /// In the order of their numbers.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (PathKind, &T)> {
        let kinds = [
            PathKind::Direct,
            PathKind::Host,
            PathKind::Wss,
            PathKind::Host2,
            PathKind::Tcp,
        ];
        let all = kinds.into_iter().zip(&self.0);
        all.filter_map(|(kind, value)| Some((kind, value.as_ref()?)))
    }
}

impl<T: Default> ByKind<T> {
    pub(crate) fn or_default(&mut self, kind: PathKind) -> &mut T {
        self.0[place(kind)].get_or_insert_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_a_place_of_its_own() {
        let mut by_kind = ByKind::default();
        assert!(by_kind.is_empty());
        for kind in PathKind::ALL {
            assert_eq!(by_kind.get(kind), None);
            *by_kind.or_default(kind) = kind as u8;
        }
        assert!(by_kind.iter().all(|(kind, value)| kind as u8 == *value));
        assert!(by_kind.iter().map(|(kind, _)| kind as u8).is_sorted());
        assert_eq!(by_kind.iter().count(), KINDS);
        *by_kind.get_mut(PathKind::Host2).unwrap() = 0;
        assert_eq!(by_kind.get(PathKind::Host2), Some(&0));
    }
}
