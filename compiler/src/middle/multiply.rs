//! Finds the compilers' helper for 128-bit products, `__multi3`, and proves that it is one.
//!
//! WebAssembly has no instruction for the upper half of a 64-bit product, so C, C++, Rust and Zig
//! call a helper, `(result address, x low, x high, y low, y high)`, which multiplies halves of 32
//! bits with carries. CPUs have that instruction. A function counts as the helper if it stores two
//! words and a proof shows that these are the halves of the product. Neither its name nor its way
//! of computing matters. A function that the proof does not cover is compiled as usual.
//!
//! # The proof
//! Each value of the body is a polynomial, with coefficients modulo 2^128, over *atoms*: the four
//! words of the operands, and for each value `v` that is divided by 2^32 the quotient `q`. The
//! polynomial is equal to the value modulo 2^64. It is *exactly* the value, as an integer, if
//! bounds show that no operation wrapped. Only exact values are divided: `v >> 32` is the atom `q`,
//! and `v & 0xffffffff` is `r = v - 2^32 q`, which is below 2^32.
//!
//! With the words `a`, `b` and the upper words `A`, `B` of the operands, and the stored words `L`
//! and `H`, the product is right if, as polynomials,
//! - `L = a b` modulo 2^64, and
//! - `a b - 2^64 (H - a B - A b) = 2^32 r + s` modulo 2^128, for two of the remainders `r` and `s`.
//!
//! The right side of the second line is at least 0 and below 2^64, so `H - a B - A b` is the upper
//! half of `a b`.

use std::collections::BTreeMap;

use precast_artifact::ValType;
use wasmparser::{FunctionBody, Operator};

use crate::module::Module;
use crate::symbol::DefinedFuncIndex;

/// Maximum number of bytes of a helper's body.
const MAX_BODY: usize = 512;

/// Maximum number of atoms: 4 words and the quotients.
const MAX_ATOMS: usize = 20;

const HALF: u128 = 1 << 32;
const WORD: u128 = 1 << 64;

/// A half of the product.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Half {
    Low,
    High,
}

/// The halves of the product that a function stores, in that order, if it is the helper. It stores
/// them with its two stores and does nothing else.
pub(crate) fn find(module: &Module<'_>, function: DefinedFuncIndex) -> Option<[Half; 2]> {
    let signature = module.signature(module.func_index(function));
    use ValType::{I32, I64};
    if *signature.params != [I32, I64, I64, I64, I64] || !signature.results.is_empty() {
        return None;
    }
    let body = &module.bodies[function];
    if body.as_bytes().len() > MAX_BODY {
        return None;
    }
    let stored = Proof::new().run(body).ok()??;
    stored.halves()
}

/// A product of at most two atoms, by their numbers; 0 stands for no atom.
type Term = [u8; 2];

/// A polynomial. No coefficient is zero.
type Polynomial = BTreeMap<Term, u128>;

const A: u8 = 1;
const A_HIGH: u8 = 2;
const B: u8 = 3;
const B_HIGH: u8 = 4;

fn atom(number: u8) -> Polynomial {
    Polynomial::from([([0, number], 1)])
}

/// Adds `factor` times `other`.
fn add(to: &mut Polynomial, other: &Polynomial, factor: u128) {
    for (term, coefficient) in other {
        let sum = to.entry(*term).or_insert(0);
        *sum = sum.wrapping_add(coefficient.wrapping_mul(factor));
    }
    to.retain(|_, coefficient| *coefficient != 0);
}

/// The product, unless it has terms of more than two atoms.
fn multiply(a: &Polynomial, b: &Polynomial) -> Option<Polynomial> {
    let mut product = Polynomial::new();
    for (x, coefficient) in a {
        for (y, factor) in b {
            let mut atoms = [x[0], x[1], y[0], y[1]];
            atoms.sort_unstable();
            let [0, 0, first, second] = atoms else {
                return None;
            };
            let term = Polynomial::from([([first, second], *coefficient)]);
            add(&mut product, &term, *factor);
        }
    }
    Some(product)
}

/// A 64-bit value.
#[derive(Debug, Clone)]
struct Word {
    polynomial: Polynomial,
    /// If the polynomial is exactly the value: the greatest value that is possible, below 2^64.
    max: Option<u128>,
    /// The value is a multiple of two to this power.
    zeros: u32,
}

impl Word {
    fn new(polynomial: Polynomial, max: Option<u128>) -> Self {
        Self {
            polynomial,
            max: max.filter(|max| *max < WORD),
            zeros: 0,
        }
    }
}

#[derive(Debug, Clone)]
enum Operand {
    /// The address of the result.
    Address,
    Word(Word),
    /// The lower half of a word.
    Half(Word),
}

/// A quotient by 2^32.
struct Quotient {
    of: Polynomial,
    atom: u8,
}

/// What a body has stored.
struct Stored {
    words: Vec<(u64, Polynomial)>,
    quotients: Vec<Quotient>,
}

struct Proof {
    stack: Vec<Operand>,
    locals: Vec<Operand>,
    stored: Stored,
}

impl Proof {
    fn new() -> Self {
        let words = [A, A_HIGH, B, B_HIGH].map(|number| {
            let word = Word::new(atom(number), Some(WORD - 1));
            Operand::Word(word)
        });
        Self {
            stack: Vec::new(),
            locals: [Operand::Address].into_iter().chain(words).collect(),
            stored: Stored {
                words: Vec::new(),
                quotients: Vec::new(),
            },
        }
    }

    /// Computes what a body stores. `None` if it does anything that the proof does not cover.
    fn run(mut self, body: &FunctionBody<'_>) -> Result<Option<Stored>, wasmparser::Error> {
        for declaration in body.get_locals_reader()? {
            let (count, ty) = declaration?;
            let is_word = ty == wasmparser::ValType::I64;
            if !is_word || self.locals.len() + count as usize > MAX_ATOMS {
                return Ok(None);
            }
            let zero = Operand::Word(Word::new(Polynomial::new(), Some(0)));
            self.locals
                .extend(std::iter::repeat_n(zero, count as usize));
        }
        let mut reader = body.get_operators_reader()?;
        while !reader.eof() {
            let operator = reader.read()?;
            if matches!(operator, Operator::End) {
                break;
            }
            if self.operator(&operator).is_none() {
                return Ok(None);
            }
        }
        Ok((reader.eof() && self.stack.is_empty()).then_some(self.stored))
    }

    fn operator(&mut self, operator: &Operator<'_>) -> Option<()> {
        let result = match *operator {
            Operator::LocalGet { local_index } => self.locals.get(local_index as usize)?.clone(),
            Operator::LocalSet { local_index } => {
                *self.locals.get_mut(local_index as usize)? = self.stack.pop()?;
                return Some(());
            }
            Operator::LocalTee { local_index } => {
                *self.locals.get_mut(local_index as usize)? = self.stack.last()?.clone();
                return Some(());
            }
            Operator::I64Const { value } => {
                let value = u128::from(value.cast_unsigned());
                let mut polynomial = Polynomial::new();
                add(&mut polynomial, &Polynomial::from([([0, 0], 1)]), value);
                Operand::Word(Word::new(polynomial, Some(value)))
            }
            Operator::I64Add => {
                let (a, b) = (self.word()?, self.word()?);
                Operand::Word(sum(a, &b))
            }
            // The result is the sum, if no bit is set in both operands.
            Operator::I64Or => {
                let (a, b) = (self.word()?, self.word()?);
                let below = |a: &Word, b: &Word| b.max.is_some_and(|max| max < 1 << a.zeros);
                if !below(&a, &b) && !below(&b, &a) {
                    return None;
                }
                Operand::Word(sum(a, &b))
            }
            Operator::I64Mul => {
                let (a, b) = (self.word()?, self.word()?);
                let max = a.max.zip(b.max).and_then(|(a, b)| a.checked_mul(b));
                Operand::Word(Word::new(multiply(&a.polynomial, &b.polynomial)?, max))
            }
            Operator::I64And => {
                let (a, b) = (self.word()?, self.word()?);
                match (is_constant(&a, HALF - 1), is_constant(&b, HALF - 1)) {
                    (true, _) => Operand::Word(self.remainder(b)?),
                    (_, true) => Operand::Word(self.remainder(a)?),
                    (false, false) => return None,
                }
            }
            Operator::I64ShrU => {
                let (by, of) = (self.word()?, self.word()?);
                if !is_constant(&by, 32) {
                    return None;
                }
                let max = of.max?;
                let quotient = self.quotient(&of)?;
                Operand::Word(Word::new(atom(quotient), Some(max / HALF)))
            }
            Operator::I64Shl => {
                let (by, of) = (self.word()?, self.word()?);
                if !is_constant(&by, 32) {
                    return None;
                }
                // The shift drops the upper half, so only the remainder matters.
                let of = match of.max {
                    Some(_) => self.remainder(of)?,
                    None => of,
                };
                let mut shifted = Polynomial::new();
                add(&mut shifted, &of.polynomial, HALF);
                let mut word = Word::new(shifted, of.max.map(|max| max * HALF));
                word.zeros = 32;
                Operand::Word(word)
            }
            Operator::I32WrapI64 => Operand::Half(self.word()?),
            Operator::I64ExtendI32U => {
                let Operand::Half(word) = self.stack.pop()? else {
                    return None;
                };
                Operand::Word(self.remainder(word)?)
            }
            Operator::I64Store { memarg } => {
                let value = self.word()?;
                let Operand::Address = self.stack.pop()? else {
                    return None;
                };
                self.stored.words.push((memarg.offset, value.polynomial));
                return Some(());
            }
            _ => return None,
        };
        self.stack.push(result);
        Some(())
    }

    fn word(&mut self) -> Option<Word> {
        match self.stack.pop()? {
            Operand::Word(word) => Some(word),
            Operand::Address | Operand::Half(_) => None,
        }
    }

    /// The atom of a word's quotient by 2^32.
    fn quotient(&mut self, of: &Word) -> Option<u8> {
        of.max?;
        let quotients = &mut self.stored.quotients;
        if let Some(known) = quotients.iter().find(|known| known.of == of.polynomial) {
            return Some(known.atom);
        }
        let number = usize::from(B_HIGH) + 1 + quotients.len();
        let atom = u8::try_from(number).ok().filter(|_| number < MAX_ATOMS)?;
        quotients.push(Quotient {
            of: of.polynomial.clone(),
            atom,
        });
        Some(atom)
    }

    /// The lower half of an exact word.
    fn remainder(&mut self, of: Word) -> Option<Word> {
        let max = of.max?;
        if max < HALF {
            return Some(of);
        }
        self.quotient(&of)?;
        let quotient = self.stored.quotients.iter();
        let quotient = quotient.rev().find(|known| known.of == of.polynomial)?;
        Some(Word::new(quotient.remainder(), Some(HALF - 1)))
    }
}

fn sum(mut a: Word, b: &Word) -> Word {
    add(&mut a.polynomial, &b.polynomial, 1);
    let max = a.max.zip(b.max).map(|(a, b)| a + b);
    Word::new(a.polynomial, max)
}

fn is_constant(word: &Word, value: u128) -> bool {
    word.max == Some(value) && word.polynomial == Polynomial::from([([0, 0], value)])
}

impl Quotient {
    fn remainder(&self) -> Polynomial {
        let mut remainder = self.of.clone();
        add(&mut remainder, &atom(self.atom), HALF.wrapping_neg());
        remainder
    }
}

impl Stored {
    /// The halves of the product in the order in which they were stored; `None` if the words are
    /// anything else.
    fn halves(&self) -> Option<[Half; 2]> {
        let [(first_place, first), (second_place, second)] = &*self.words else {
            return None;
        };
        if first_place + 8 == *second_place && self.is_product(first, second) {
            Some([Half::Low, Half::High])
        } else if second_place + 8 == *first_place && self.is_product(second, first) {
            Some([Half::High, Half::Low])
        } else {
            None
        }
    }

    fn is_product(&self, low: &Polynomial, high: &Polynomial) -> bool {
        let product = Polynomial::from([([A, B], 1)]);
        let mut difference = low.clone();
        add(&mut difference, &product, 1_u128.wrapping_neg());
        if difference
            .values()
            .any(|coefficient| coefficient % WORD != 0)
        {
            return false;
        }
        let mut rest = product;
        add(&mut rest, high, WORD.wrapping_neg());
        let upper = Polynomial::from([([A, B_HIGH], 1), ([A_HIGH, B], 1)]);
        add(&mut rest, &upper, WORD);
        self.quotients.iter().any(|r| {
            self.quotients.iter().any(|s| {
                let mut expected = s.remainder();
                add(&mut expected, &r.remainder(), HALF);
                expected == rest
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::parse;

    fn found(body: &str) -> Option<[Half; 2]> {
        let source = format!(
            "(module (memory 1) (func (param $p i32) (param $a i64) (param $A i64) (param $b i64)
             (param $B i64) (local $t i64) (local $u i64) (local $v i64) {body}))"
        );
        let wasm = wat::parse_str(&source).unwrap_or_else(|error| panic!("{error}\n{source}"));
        find(&parse(&wasm).unwrap(), DefinedFuncIndex::from_u32(0))
    }

    const MASK: &str = "(i64.const 0xffffffff)";
    const BY: &str = "(i64.const 32)";

    /// The helper as compilers make it: `low` is how it computes the lower half, and each change
    /// replaces a part of it.
    fn helper(low: &str, changes: &[(&str, &str)]) -> String {
        let mut text = format!(
            "(local.set $t (i64.mul (i64.and (local.get $a) MASK) (i64.and (local.get $b) MASK)))
             (local.set $u (i64.add (i64.shr_u (local.get $t) BY)
               (i64.mul (i64.shr_u (local.get $a) BY) (i64.and (local.get $b) MASK))))
             (local.set $v (i64.add (i64.and (local.get $u) MASK)
               (i64.mul (i64.and (local.get $a) MASK) (i64.shr_u (local.get $b) BY))))
             (i64.store offset=8 (local.get $p)
               (i64.add (i64.add (i64.add (i64.shr_u (local.get $u) BY) (i64.shr_u (local.get $v) BY))
                 (i64.mul (i64.shr_u (local.get $a) BY) (i64.shr_u (local.get $b) BY)))
               (i64.add (i64.mul (local.get $A) (local.get $b)) (i64.mul (local.get $B) (local.get $a)))))
             (i64.store (local.get $p) {low})"
        );
        for (from, to) in changes {
            assert!(text.contains(from), "{from}");
            text = text.replacen(from, to, 1);
        }
        text.replace("MASK", MASK).replace("BY", BY)
    }

    const LOWS: [&str; 4] = [
        "(i64.mul (local.get $a) (local.get $b))",
        "(i64.or (i64.shl (local.get $v) BY) (i64.and (local.get $t) MASK))",
        "(i64.add (i64.shl (i64.and (local.get $v) MASK) BY) (i64.and (local.get $t) MASK))",
        "(i64.or (i64.shl (local.get $v) BY) (i64.extend_i32_u (i32.wrap_i64 (local.get $t))))",
    ];

    #[test]
    fn helpers_are_found() {
        for low in LOWS {
            assert_eq!(
                found(&helper(low, &[])),
                Some([Half::High, Half::Low]),
                "{low}"
            );
        }
    }

    #[test]
    fn almost_helpers_are_not() {
        for (from, to) in [
            // A carry is lost, or counted twice.
            ("(i64.shr_u (local.get $u) BY)", "(i64.const 0)"),
            ("(i64.and (local.get $u) MASK)", "(local.get $u)"),
            ("(i64.shr_u (local.get $t) BY)", "(local.get $t)"),
            // Another half, another word, another operator.
            (
                "(i64.shr_u (local.get $a) BY)",
                "(i64.shr_u (local.get $b) BY)",
            ),
            ("(i64.mul (local.get $A)", "(i64.mul (local.get $B)"),
            (
                "(i64.add (i64.mul (local.get $A)",
                "(i64.sub (i64.mul (local.get $A)",
            ),
            (
                "(i64.shr_u (local.get $v) BY)",
                "(i64.shr_s (local.get $v) BY)",
            ),
            (
                "(i64.shr_u (local.get $v) BY)",
                "(i64.shr_u (local.get $v) (i64.const 31))",
            ),
            ("MASK", "(i64.const 0x7fffffff)"),
            // Another place, another address, another store.
            ("offset=8", "offset=16"),
            ("offset=8 (local.get $p)", "offset=8 (i32.const 8)"),
            ("(i64.store (local.get $p)", "(i64.store32 (local.get $p)"),
            (
                "(i64.store (local.get $p)",
                "(i64.store offset=8 (local.get $p)",
            ),
            (
                "(i64.store (local.get $p)",
                "(drop (i64.load (local.get $p))) (i64.store (local.get $p)",
            ),
            (
                "(i64.store (local.get $p)",
                "(br_if 0 (local.get $p)) (i64.store (local.get $p)",
            ),
        ] {
            for low in LOWS {
                assert_eq!(
                    found(&helper(low, &[(from, to)])),
                    None,
                    "{from} {to} {low}"
                );
            }
        }
        for low in [
            "(i64.const 0)",
            "(i64.mul (local.get $a) (local.get $a))",
            "(i64.or (i64.shl (local.get $v) BY) (local.get $t))",
            "(i64.or (i64.shl (local.get $u) BY) (i64.and (local.get $t) MASK))",
        ] {
            assert_eq!(found(&helper(low, &[])), None, "{low}");
        }
        assert_eq!(found("(i64.store (local.get $p) (i64.const 1))"), None);
        assert_eq!(found(""), None);
    }

    #[test]
    fn sums_that_wrap_are_not_divided() {
        // `a + b` may wrap, so that `(a + b) >> 32` is no quotient of the polynomial.
        let wraps = "(i64.shr_u (i64.add (local.get $a) (local.get $b)) BY)".replace("BY", BY);
        let mut proof = Proof::new();
        let add = [
            Operator::LocalGet { local_index: 1 },
            Operator::LocalGet { local_index: 3 },
            Operator::I64Add,
            Operator::I64Const { value: 32 },
        ];
        assert!(
            add.iter()
                .all(|operator| proof.operator(operator).is_some())
        );
        assert!(proof.operator(&Operator::I64ShrU).is_none());
        assert_eq!(found(&format!("(i64.store (local.get $p) {wraps})")), None);
    }
}
