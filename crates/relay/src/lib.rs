//! DNS relayed from listeners in one network namespace to servers of another.
#![forbid(unsafe_code)]
