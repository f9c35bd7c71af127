//! Python indexes and their solution.
