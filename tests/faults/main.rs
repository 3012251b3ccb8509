//! What goes wrong, made to go wrong: whoever is killed, stopped or refused, the file can be read, what was lost is told, and the
//! machine is as it was.
#![forbid(unsafe_code)]

mod caller;
mod chance;
mod disks;
mod kills;
mod outputs;
mod pauses;
mod privileges;
mod programs;
mod refusals;
mod settings;
mod threads;
