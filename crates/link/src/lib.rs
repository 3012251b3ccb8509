//! Links, addresses, routes and rules of a network namespace over rtnetlink.
#![forbid(unsafe_code)]
