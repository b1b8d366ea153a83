// A byte-code interpreter with a dense switch, which counts primes.
#include <stdio.h>
enum { PUSH, ADD, SUB, MUL, MOD, LT, EQ, JZ, JMP, LOAD, STORE, DUP, POP, INC, NOP, HALT };
static long run(const int *code) {
  long stack[32], var[8] = {0};
  int sp = 0, pc = 0;
  for (;;) switch (code[pc++]) {
    case PUSH: stack[sp++] = code[pc++]; break;
    case ADD: sp--; stack[sp - 1] += stack[sp]; break;
    case SUB: sp--; stack[sp - 1] -= stack[sp]; break;
    case MUL: sp--; stack[sp - 1] *= stack[sp]; break;
    case MOD: sp--; stack[sp - 1] %= stack[sp]; break;
    case LT: sp--; stack[sp - 1] = stack[sp - 1] < stack[sp]; break;
    case EQ: sp--; stack[sp - 1] = stack[sp - 1] == stack[sp]; break;
    case JZ: { int to = code[pc++]; if (!stack[--sp]) pc = to; break; }
    case JMP: pc = code[pc]; break;
    case LOAD: stack[sp++] = var[code[pc++]]; break;
    case STORE: var[code[pc++]] = stack[--sp]; break;
    case DUP: stack[sp] = stack[sp - 1]; sp++; break;
    case POP: sp--; break;
    case INC: var[code[pc++]]++; break;
    case NOP: break;
    default: return var[0];
  }
}
int main(void) {
  static const int code[] = {PUSH, 2, STORE, 1, /*4*/ LOAD, 1, PUSH, 9000, LT, JZ, 45, PUSH, 2, STORE, 2,
    /*15*/ LOAD, 2, DUP, MUL, LOAD, 1, PUSH, 1, ADD, LT, JZ, 38, LOAD, 1, LOAD, 2, MOD, JZ, 41, INC, 2, JMP, 15,
    /*38*/ NOP, INC, 0, /*41*/ INC, 1, JMP, 4, /*45*/ HALT};
  long sum = 0;
  for (int i = 0; i < 50; i++) sum += run(code);
  printf("%ld\n", sum);
}
