//! Values under small numbers that are reused, with keys that are not.

/// Values by key.
#[derive(Debug)]
pub struct Slots<T> {
    slots: Vec<Slot<T>>,
    free: Vec<u32>,
}

/// A value's key. It finds nothing once the value is gone, even if its place has been reused: the events of one
/// `epoll_wait` may name a socket that an earlier one of them closed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Key {
    /// Where.
    pub index: u32,
    /// For the how many-eth time the place is used, in 24 bits.
    pub generation: u32,
}

impl<T> Default for Slots<T> {
    fn default() -> Self {
        Self::new()
    }
}

#[derive(Debug)]
struct Slot<T> {
    generation: u32,
    value: Option<T>,
}

impl<T> Slots<T> {
    /// None yet.
    pub fn new() -> Self {
        Self { slots: Vec::new(), free: Vec::new() }
    }

    /// How many values there are.
    pub fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Keeps a value that is made from its own key.
    ///
    /// # Panics
    /// With 2^32 values, which no machine has the memory for.
    pub fn insert_with(&mut self, make: impl FnOnce(Key) -> T) -> Key {
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot { generation: 0, value: None });
            u32::try_from(self.slots.len() - 1).expect("there are fewer sockets than 2^32")
        });
        let slot = &mut self.slots[index as usize];
        let key = Key { index, generation: slot.generation };
        slot.value = Some(make(key));
        key
    }

    /// The value, if it is still there.
    pub fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        let slot = self.slots.get_mut(key.index as usize)?;
        if slot.generation == key.generation { slot.value.as_mut() } else { None }
    }

    /// Replaces the value by what is made of it, if it is still there.
    pub fn change(&mut self, key: Key, change: impl FnOnce(T) -> T) {
        if let Some(slot) = self.slots.get_mut(key.index as usize)
            && slot.generation == key.generation
        {
            slot.value = slot.value.take().map(change);
        }
    }

    /// Takes the value, if it is still there.
    pub fn remove(&mut self, key: Key) -> Option<T> {
        let slot = self.slots.get_mut(key.index as usize)?;
        if slot.generation != key.generation {
            return None;
        }
        let value = slot.value.take()?;
        slot.generation = (slot.generation + 1) & GENERATION_MASK;
        self.free.push(key.index);
        Some(value)
    }

    /// All of them, in no order that means anything.
    pub fn iter(&self) -> impl Iterator<Item = (Key, &T)> {
        self.slots.iter().zip(0..).filter_map(|(slot, index)| {
            let key = Key { index, generation: slot.generation };
            slot.value.as_ref().map(|value| (key, value))
        })
    }
}

const GENERATION_MASK: u32 = (1 << 24) - 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_finds_nothing_once_its_place_is_reused() {
        let mut slots = Slots::new();
        let first = slots.insert_with(|_| 'a');
        assert_eq!((slots.len(), slots.get_mut(first)), (1, Some(&mut 'a')));
        slots.change(first, |value| value.to_ascii_uppercase());
        assert_eq!(slots.remove(first), Some('A'));
        slots.change(first, |_| unreachable!("it is gone"));
        let second = slots.insert_with(|_| 'b');
        assert_eq!(second.index, first.index);
        assert_eq!(slots.get_mut(first), None);
        assert_eq!(slots.remove(first), None);
        assert_eq!(slots.iter().collect::<Vec<_>>(), [(second, &'b')]);
    }

    #[test]
    fn generations_start_over_after_24_bits() {
        let mut slots = Slots::new();
        let key = slots.insert_with(|_| ());
        slots.remove(key);
        slots.slots[0].generation = GENERATION_MASK;
        let last = slots.insert_with(|_| ());
        assert_eq!(slots.remove(last), Some(()));
        assert_eq!(slots.insert_with(|_| ()).generation, 0);
    }
}
