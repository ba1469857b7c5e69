"""TMDS as the flow charts of DVI 1.0 have it, figures 3-5 and 3-6: an encoder with counts of ones, and a decoder."""

CONTROLS = {0: "1101010100", 1: "0010101011", 2: "0101010100", 3: "1010101011"}  # q_out[9] … q_out[0], table 3-2


def bits_of(number, count):
    """The lowest first."""
    return [number >> k & 1 for k in range(count)]


def number_of(bits):
    """Inverse of `bits_of`."""
    return sum(bit << k for k, bit in enumerate(bits))


def control(value):
    """The symbol for two control bits."""
    return int(CONTROLS[value], 2)


def encode(byte, cnt):
    """The symbol for a byte, and the next count of ones more than zeros."""
    d = bits_of(byte, 8)
    q_m = [d[0]]
    if sum(d) > 4 or (sum(d) == 4 and d[0] == 0):
        for k in range(1, 8):
            q_m.append(1 - (q_m[k - 1] ^ d[k]))
        q_m.append(0)
    else:
        for k in range(1, 8):
            q_m.append(q_m[k - 1] ^ d[k])
        q_m.append(1)
    plain, opposite, q8 = q_m[:8], [1 - bit for bit in q_m[:8]], q_m[8]
    n1 = sum(plain)
    n0 = 8 - n1
    if cnt == 0 or n1 == n0:
        if q8 == 0:
            return number_of([*opposite, 0, 1]), cnt + n0 - n1
        return number_of([*plain, 1, 0]), cnt + n1 - n0
    if (cnt > 0 and n1 > n0) or (cnt < 0 and n0 > n1):
        return number_of([*opposite, q8, 1]), cnt + 2 * q8 + n0 - n1
    return number_of([*plain, q8, 0]), cnt - 2 * (1 - q8) + n1 - n0


def decode(symbol):
    """The byte of a symbol."""
    bits = bits_of(symbol, 10)
    d = [1 - bit for bit in bits[:8]] if bits[9] else bits[:8]
    q = [d[0]]
    for k in range(1, 8):
        q.append(d[k] ^ d[k - 1] if bits[8] else 1 - (d[k] ^ d[k - 1]))
    return number_of(q)


def reachable():
    """Counts that any bytes after a control symbol lead to."""
    found, new = {0}, {0}
    while new:
        new = {encode(byte, cnt)[1] for cnt in new for byte in range(256)} - found
        found |= new
    return sorted(found)
