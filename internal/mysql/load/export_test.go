package load

// KeysAfterRows has the keys of every table with rows built after them, as it
// is otherwise done for large tables.
func (o Options) KeysAfterRows() Options {
	o.largeTable = 1
	return o
}
