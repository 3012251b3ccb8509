# Each task is `cargo xtask TASK`; this file only makes them short to type.

test:
    cargo xtask test

bench:
    cargo xtask bench start
    cargo xtask bench filter

dist:
    cargo xtask dist

fuzz:
    cargo xtask fuzz

tidy:
    cargo xtask tidy

ci:
    cargo xtask test
