//! The kernel calls that need unsafe code, each behind a safe function.

