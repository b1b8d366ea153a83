package   messy
import ("strings"
"fmt"
)
// Deliberately badly formatted: input for gofmt.
type   pair[K comparable,V any] struct{ key K;value V
	longer_name   string `json:"x"`   // trailing
}
const ( a=iota
  bbb
	cc = "x"+`raw
string` )
func (p *pair[K,V])String( )string{ return fmt.Sprintf( "%v=%v",p.key , p.value ) }
func  run( xs...int )(total int,err error){
for i:=0;i<len( xs );i++{ if xs[i]>3{continue};total+=xs[ i ]*2+1 }
switch{ case total>10: fmt.Println( strings.Repeat("-",10) )
default:
goto done }
done:
m:=map[string][]int{"a":{1,2},
"bcd":{3} }
 select{ }
ch:=make(chan<-  int,1);go func(){ch<-m["a"][0:len(m)-1][0]}()
return
}
