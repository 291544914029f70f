package kopia

// Algorithms returns by what the repository's content is encrypted and hashed,
// as kopia names it.
func (s *Store) Algorithms() (encryption, hash string) {
	f := s.rep.FormatManager()
	return f.GetEncryptionAlgorithm(), f.GetHashFunction()
}
