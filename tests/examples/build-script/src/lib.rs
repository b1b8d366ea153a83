//! A library that the program of this package does not use. What the build script made is linked to
//! the program all the same.
