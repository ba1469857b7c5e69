"""The clock of the accelerator, from that of the board, with the PLL of the family."""

from itertools import product

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

# Hertz between which the oscillator of each family's PLL runs, and those that its phase detector compares: datasheets of ECP5
# (FPGA-DS-02012, table 3.21), iCE40 UltraPlus (FPGA-DS-02008, table 4.14), GW1NR-9 (DS117) and 7 series at grade 1 (DS181, table 38).
OSCILLATORS = {"ecp5": (400e6, 800e6), "ice40": (533e6, 1066e6), "gowin": (500e6, 1000e6), "xc7": (800e6, 1600e6)}
DETECTORS = {"ecp5": (10e6, 400e6), "ice40": (10e6, 133e6), "gowin": (3e6, 400e6), "xc7": (19e6, 450e6)}
# Divisors of the input, of what is fed back, and of the oscillator.
DIVISORS = {
    "ecp5": (range(1, 129), range(1, 81), range(1, 129)), "ice40": (range(1, 17), range(1, 129), [1 << q for q in range(1, 7)]),
    "gowin": (range(1, 65), range(1, 65), (2, 4, 8, 16, 32, 48, 64, 80, 96, 112, 128)), "xc7": (range(1, 57), range(2, 65), range(1, 129)),
}  # fmt: skip
# iCE40 and 7 series feed back the oscillator itself, the others what comes out.
OUTER = ("ecp5", "gowin")


def divisors(family, from_hz, to_hz):
    """Divisors of the input, of what is fed back, and of the oscillator, that give exactly `to_hz` from `from_hz`; None if they are equal.

    Raises ValueError if there are none.
    """
    for name, value in (("from_hz", from_hz), ("to_hz", to_hz)):
        if not isinstance(value, int):
            raise TypeError(f"PLL {name} must be an integer, not {value!r}")
    if family not in DIVISORS:
        raise ValueError(f"PLL family must be one of {', '.join(DIVISORS)}, not {family!r}")
    return None if from_hz == to_hz else _divisors(family, from_hz, to_hz)


def second_divisor(family, from_hz, to_hz, second_hz):
    """Divisors as `divisors` finds them, also where both frequencies are equal, and that of the oscillator for a second output of `second_hz`.

    Raises ValueError if there are none, or the family's PLL has no second output here (all but ECP5).
    """
    divisors(family, from_hz, to_hz)
    if family != "ecp5":
        raise ValueError(f"PLL of {family} must have one output, not also one of {second_hz} Hz")
    found = _divisors(family, from_hz, to_hz)
    second, rest = divmod(to_hz * found[-1], second_hz)
    if rest or second not in DIVISORS[family][-1]:
        raise ValueError(f"PLL of {family} must give {second_hz} Hz beside {to_hz} Hz, and no divisor does")
    return found, second


def _divisors(family, from_hz, to_hz):
    """See `divisors`."""
    (slow, fast), (least, most) = OSCILLATORS[family], DETECTORS[family]
    inputs, feedbacks, outputs = DIVISORS[family]
    for divided, output in product(inputs, outputs):
        compared, oscillator = from_hz / divided, to_hz * output
        feedback, rest = divmod((to_hz if family in OUTER else oscillator) * divided, from_hz)
        if least <= compared <= most and slow <= oscillator <= fast and not rest and feedback in feedbacks:
            return divided, feedback, output
    raise ValueError(f"PLL of {family} must give {to_hz} Hz from {from_hz} Hz, and no divisors do")


class Pll(wiring.Component):
    """Clock of `to_hz` from one of `from_hz`; a wire if they are the same.

    Parameters
    ----------
    family : one of `DIVISORS`. second_hz : of a second output of the same oscillator, on ECP5.

    Members
    -------
    i : In(1), o : Out(1), clocks. second : Out(1), a clock, with `second_hz`. locked : Out(1), `o` has its frequency.
    """

    i: Signal
    o: Signal
    second: Signal
    locked: Signal

    def __init__(self, family, from_hz, to_hz, second_hz=None):
        self.family, self.from_hz, self.to_hz = family, from_hz, to_hz
        self.second_divisor = None
        if second_hz is None:
            self.divisors = divisors(family, from_hz, to_hz)
        else:
            self.divisors, self.second_divisor = second_divisor(family, from_hz, to_hz, second_hz)
        ports = {"i": In(1), "o": Out(1), "locked": Out(1)}
        super().__init__(ports if second_hz is None else {**ports, "second": Out(1)})

    def elaborate(self, platform):
        m = Module()
        if self.divisors is None:
            m.d.comb += [self.o.eq(self.i), self.locked.eq(1)]
            return m
        m.submodules.pll = {"ecp5": self._ecp5, "ice40": self._ice40, "gowin": self._gowin, "xc7": self._xc7}[self.family](*self.divisors)
        return m

    def _ecp5(self, divided, feedback, output):
        second = {}
        if self.second_divisor is not None:
            second = {
                "p_CLKOS_DIV": self.second_divisor, "p_CLKOS_ENABLE": "ENABLED", "p_CLKOS_CPHASE": self.second_divisor - 1,
                "i_ENCLKOS": Const(0), "o_CLKOS": self.second,
            }  # fmt: skip
        return Instance(
            "EHXPLLL", p_CLKI_DIV=divided, p_CLKFB_DIV=feedback, p_CLKOP_DIV=output, p_CLKOP_ENABLE="ENABLED",
            # Half a period of the output, in periods of the oscillator: edges where those of the input are.
            p_CLKOP_CPHASE=output - 1, p_FEEDBK_PATH="CLKOP",
            i_CLKI=self.i, i_CLKFB=self.o, i_RST=Const(0), i_STDBY=Const(0), i_PHASESEL0=Const(0), i_PHASESEL1=Const(0),
            i_PHASEDIR=Const(0), i_PHASESTEP=Const(0), i_PHASELOADREG=Const(0), i_PLLWAKESYNC=Const(0), i_ENCLKOP=Const(0),
            o_CLKOP=self.o, o_LOCK=self.locked, **second,
        )  # fmt: skip

    def _ice40(self, divided, feedback, output):
        compared = self.from_hz / divided
        # Of the loop's filter: how many of these limits the compared frequency reaches.
        filtered = 1 + sum(compared >= limit for limit in (17e6, 26e6, 44e6, 66e6, 101e6))
        return Instance(
            "SB_PLL40_PAD", p_FEEDBACK_PATH="SIMPLE", p_DIVR=Const(divided - 1, 4), p_DIVF=Const(feedback - 1, 7),
            p_DIVQ=Const(output.bit_length() - 1, 3), p_FILTER_RANGE=Const(filtered, 3),
            i_PACKAGEPIN=self.i, i_RESETB=Const(1), i_BYPASS=Const(0), o_PLLOUTGLOBAL=self.o, o_LOCK=self.locked,
        )  # fmt: skip

    def _gowin(self, divided, feedback, output):
        return Instance(
            "rPLL", p_FCLKIN=f"{self.from_hz / 1e6:g}", p_IDIV_SEL=divided - 1, p_FBDIV_SEL=feedback - 1, p_ODIV_SEL=output,
            i_CLKIN=self.i, i_CLKFB=Const(0), i_RESET=Const(0), i_RESET_P=Const(0), i_FBDSEL=Const(0, 6), i_IDSEL=Const(0, 6),
            i_ODSEL=Const(0, 6), i_PSDA=Const(0, 4), i_DUTYDA=Const(0, 4), i_FDLY=Const(0, 4),
            o_CLKOUT=self.o, o_LOCK=self.locked,
        )  # fmt: skip

    def _xc7(self, divided, feedback, output):
        fed_back = Signal()
        return Instance(
            "PLLE2_BASE", p_CLKIN1_PERIOD=f"{1e9 / self.from_hz:.3f}", p_DIVCLK_DIVIDE=divided, p_CLKFBOUT_MULT=feedback,
            p_CLKOUT0_DIVIDE=output, i_CLKIN1=self.i, i_CLKFBIN=fed_back, i_RST=Const(0), i_PWRDWN=Const(0),
            o_CLKFBOUT=fed_back, o_CLKOUT0=self.o, o_LOCKED=self.locked,
        )  # fmt: skip
