// Ends by an access outside of the memory, which Go's own checks do not see. run.sh compares the
// backtrace with Wasmtime's.
package main

import (
	"fmt"
	"unsafe"
)

type visitor interface{ visit(depth int) int }

type tree struct{ children []tree }

//go:noinline
func read(address uintptr) int {
	return *(*int)(unsafe.Pointer(address))
}

func (t *tree) visit(depth int) int {
	if len(t.children) == 0 {
		return read(uintptr(depth) << 30)
	}
	sum := 0
	for i := range t.children {
		sum += t.children[i].visit(depth + 1)
	}
	return sum
}

func main() {
	var v visitor = &tree{children: []tree{{children: []tree{{children: []tree{{}}}}}}}
	fmt.Println(v.visit(0))
}
