//! Classic BPF programs that decide by system-call number, built as a binary search so that they stay small.
//!
//! `seccomp(2)`; the input is `struct seccomp_data`. Jumps go forward only, by at most 255 instructions, so a
//! program has at most 256; the policies here need about a hundred.

/// One instruction, `struct sock_filter`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Instruction {
    pub(crate) code: u16,
    pub(crate) if_true: u8,
    pub(crate) if_false: u8,
    pub(crate) operand: u32,
}

const LOAD_WORD: u16 = 0x20;
const AND: u16 = 0x54;
const JUMP_EQUAL: u16 = 0x15;
const JUMP_AT_LEAST: u16 = 0x35;
const JUMP_ANY_BIT: u16 = 0x45;
const RETURN: u16 = 0x06;

const RETURN_KILL: u32 = 0x8000_0000;
const RETURN_ERRNO: u32 = 0x0005_0000;
const RETURN_ALLOW: u32 = 0x7fff_0000;

const NUMBER_OFFSET: u32 = 0;
const ARCHITECTURE_OFFSET: u32 = 4;
const AUDIT_ARCH_X86_64: u32 = 0xc000_003e;
/// Set in the numbers of the x32 ABI.
const X32_BIT: u32 = 0x4000_0000;

/// What happens to a system call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is made.
    Allow,
    /// It is not made, and returns this error; 0 is success.
    Errno(u16),
    /// Its arguments decide: the index of a check.
    Check(usize),
}

/// A test of 32 bits of one argument.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Test {
    /// Load the lower half of an argument (0 to 5).
    Load(u8),
    /// Load the upper half of an argument.
    LoadUpper(u8),
    /// Keep these bits of what was loaded.
    Mask(u32),
    /// When equal to the value: this outcome.
    Equal(u32, Then),
    /// When any of the bits is set: this outcome.
    AnyBit(u32, Then),
    /// This outcome, the end of a branch.
    Otherwise(Then),
}

/// Where a test leads.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Then {
    /// To a verdict that is no check.
    Verdict(Verdict),
    /// Over this many tests of the same check.
    Skip(u8),
}

/// A run of system-call numbers, from `first` to before the next segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Segment {
    pub(crate) first: u32,
    pub(crate) verdict: Verdict,
}

/// The program: two or more `segments` ascending from 0, `checks` by index. `None` when it would be too long for
/// its jumps.
pub(crate) fn assemble(segments: &[Segment], checks: &[&[Test]]) -> Option<Vec<Instruction>> {
    let mut program = Program {
        code: Vec::new(),
        patches: Vec::new(),
    };
    program.plain(LOAD_WORD, ARCHITECTURE_OFFSET);
    program.jump(JUMP_EQUAL, AUDIT_ARCH_X86_64, Target::Next, Target::Kill);
    program.plain(LOAD_WORD, NUMBER_OFFSET);
    program.jump(JUMP_AT_LEAST, X32_BIT, Target::Kill, Target::Next);
    program.search(segments);
    let check_starts: Vec<usize> = checks.iter().map(|tests| program.check(tests)).collect();
    program.finish(&check_starts)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Target {
    Next,
    Kill,
    At(usize),
    Verdict(Verdict),
}

struct Program {
    code: Vec<Instruction>,
    patches: Vec<(usize, Target, Target)>,
}

impl Program {
    fn plain(&mut self, code: u16, operand: u32) {
        self.code.push(Instruction {
            code,
            if_true: 0,
            if_false: 0,
            operand,
        });
    }

    fn jump(&mut self, code: u16, operand: u32, if_true: Target, if_false: Target) {
        self.patches.push((self.code.len(), if_true, if_false));
        self.plain(code, operand);
    }

    /// A binary search; the lower half follows its node, the upper half comes after that.
    fn search(&mut self, segments: &[Segment]) {
        let (low, high) = segments.split_at(segments.len() / 2);
        let Some(middle) = high.first().filter(|_| !low.is_empty()) else {
            return;
        };
        let leaf = |half: &[Segment]| (half.len() == 1).then(|| Target::Verdict(half[0].verdict));
        self.jump(
            JUMP_AT_LEAST,
            middle.first,
            leaf(high).unwrap_or(Target::Next),
            leaf(low).unwrap_or(Target::Next),
        );
        let patch = self.patches.len() - 1;
        if leaf(low).is_none() {
            self.search(low);
        }
        if leaf(high).is_none() {
            self.patches[patch].1 = Target::At(self.code.len());
            self.search(high);
        }
    }

    /// Append a check; where it starts.
    fn check(&mut self, tests: &[Test]) -> usize {
        let start = self.code.len();
        let target = |at: usize, then: Then| match then {
            Then::Verdict(verdict) => Target::Verdict(verdict),
            Then::Skip(count) => Target::At(at + 1 + usize::from(count)),
        };
        for test in tests {
            let at = self.code.len();
            match *test {
                Test::Load(argument) => self.plain(LOAD_WORD, 16 + 8 * u32::from(argument)),
                Test::LoadUpper(argument) => self.plain(LOAD_WORD, 20 + 8 * u32::from(argument)),
                Test::Mask(bits) => self.plain(AND, bits),
                Test::Equal(value, then) => self.jump(JUMP_EQUAL, value, target(at, then), Target::Next),
                Test::AnyBit(bits, then) => self.jump(JUMP_ANY_BIT, bits, target(at, then), Target::Next),
                Test::Otherwise(then) => self.jump(JUMP_AT_LEAST, 0, target(at, then), Target::Next),
            }
        }
        start
    }

    /// Put one return instruction for each verdict at the end and resolve the jumps.
    fn finish(mut self, check_starts: &[usize]) -> Option<Vec<Instruction>> {
        let mut returns: Vec<(u32, usize)> = Vec::new();
        for (at, if_true, if_false) in std::mem::take(&mut self.patches) {
            let mut resolve = |target: Target| {
                let value = match target {
                    Target::Next => return u8::try_from(0).ok(),
                    Target::At(place) => return u8::try_from(place.checked_sub(at + 1)?).ok(),
                    Target::Verdict(Verdict::Check(index)) => {
                        let place = check_starts.get(index)?;
                        return u8::try_from(place.checked_sub(at + 1)?).ok();
                    }
                    Target::Kill => RETURN_KILL,
                    Target::Verdict(Verdict::Allow) => RETURN_ALLOW,
                    Target::Verdict(Verdict::Errno(number)) => RETURN_ERRNO | u32::from(number),
                };
                let place = returns
                    .iter()
                    .find(|(known, _)| *known == value)
                    .map(|(_, place)| *place);
                let place = place.unwrap_or_else(|| {
                    self.code.push(Instruction {
                        code: RETURN,
                        if_true: 0,
                        if_false: 0,
                        operand: value,
                    });
                    returns.push((value, self.code.len() - 1));
                    self.code.len() - 1
                });
                u8::try_from(place.checked_sub(at + 1)?).ok()
            };
            let (if_true, if_false) = (resolve(if_true)?, resolve(if_false)?);
            let instruction = self.code.get_mut(at)?;
            (instruction.if_true, instruction.if_false) = (if_true, if_false);
        }
        Some(self.code)
    }
}

#[cfg(test)]
pub(crate) mod interpreter {
    use super::*;

    /// What the kernel would do: the value that the program returns for a call.
    pub(crate) fn decide(program: &[Instruction], architecture: u32, number: u32, arguments: &[u64]) -> u32 {
        let load = |offset: u32| match offset {
            NUMBER_OFFSET => number,
            ARCHITECTURE_OFFSET => architecture,
            _ => {
                let argument = arguments.get((offset as usize - 16) / 8).copied().unwrap_or(0);
                u32::try_from((argument >> (offset % 8 * 8)) & 0xffff_ffff).unwrap()
            }
        };
        let (mut accumulator, mut at) = (0, 0);
        loop {
            let instruction = program[at];
            let hit = match instruction.code {
                LOAD_WORD => {
                    accumulator = load(instruction.operand);
                    at += 1;
                    continue;
                }
                AND => {
                    accumulator &= instruction.operand;
                    at += 1;
                    continue;
                }
                RETURN => return instruction.operand,
                JUMP_EQUAL => accumulator == instruction.operand,
                JUMP_AT_LEAST => accumulator >= instruction.operand,
                JUMP_ANY_BIT => accumulator & instruction.operand != 0,
                other => panic!("unknown instruction {other:#x}"),
            };
            at += 1 + usize::from(if hit {
                instruction.if_true
            } else {
                instruction.if_false
            });
        }
    }

    pub(crate) const ALLOWED: u32 = RETURN_ALLOW;
    pub(crate) const KILLED: u32 = RETURN_KILL;
    pub(crate) const NATIVE: u32 = AUDIT_ARCH_X86_64;
    pub(crate) const X32: u32 = X32_BIT;

    pub(crate) fn failed(number: i32) -> u32 {
        RETURN_ERRNO | u32::try_from(number).unwrap()
    }
}
