//! Resolution against made and real indexes.

mod debian;
mod debian_checker;
mod debian_hostile;
mod debian_live;
mod debian_properties;
mod debian_world;
mod python_live;
