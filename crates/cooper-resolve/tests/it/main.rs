//! Resolution against made and real indexes.

mod python_live;
