/* Registers of an Organza accelerator. Generated from organza/registers.py. */
#ifndef ORGANZA_REGISTERS_H
#define ORGANZA_REGISTERS_H

#define ORGANZA_ADDRESS_BITS 12
#define ORGANZA_REGISTERS_VERSION 1u

/* what this is; ro */
#define ORGANZA_ID 0x000u
#define ORGANZA_ID_RESET 0x5a47524fu /* the bytes ORGZ */

/* of this table; ro */
#define ORGANZA_VERSION 0x004u
#define ORGANZA_VERSION_RESET 0x00000001u /* other numbers are other tables */

/* input; ro */
#define ORGANZA_INPUT_CHANNELS 0x010u
#define ORGANZA_INPUT_CHANNELS_CHANNELS_LOW 0
#define ORGANZA_INPUT_CHANNELS_CHANNELS_MASK 0x0000ffffu /* channels */
#define ORGANZA_INPUT_CHANNELS_BYTES_LOW 16
#define ORGANZA_INPUT_CHANNELS_BYTES_MASK 0xffff0000u /* bytes of an integer */

/* input; ro */
#define ORGANZA_INPUT_SIZE 0x014u
#define ORGANZA_INPUT_SIZE_HEIGHT_LOW 0
#define ORGANZA_INPUT_SIZE_HEIGHT_MASK 0x0000ffffu /* rows */
#define ORGANZA_INPUT_SIZE_WIDTH_LOW 16
#define ORGANZA_INPUT_SIZE_WIDTH_MASK 0xffff0000u /* columns */

/* output; ro */
#define ORGANZA_OUTPUT_CHANNELS 0x018u
#define ORGANZA_OUTPUT_CHANNELS_CHANNELS_LOW 0
#define ORGANZA_OUTPUT_CHANNELS_CHANNELS_MASK 0x0000ffffu /* channels */
#define ORGANZA_OUTPUT_CHANNELS_BYTES_LOW 16
#define ORGANZA_OUTPUT_CHANNELS_BYTES_MASK 0xffff0000u /* bytes of an integer */

/* output; ro */
#define ORGANZA_OUTPUT_SIZE 0x01cu
#define ORGANZA_OUTPUT_SIZE_HEIGHT_LOW 0
#define ORGANZA_OUTPUT_SIZE_HEIGHT_MASK 0x0000ffffu /* rows */
#define ORGANZA_OUTPUT_SIZE_WIDTH_LOW 16
#define ORGANZA_OUTPUT_SIZE_WIDTH_MASK 0xffff0000u /* columns */

/* SHA-256 of the Program, its first byte at the lowest address; ro */
#define ORGANZA_PROGRAM(k) (0x020u + 4u * (k))
#define ORGANZA_PROGRAM_COUNT 8u

/* resets the accelerator; w1 */
#define ORGANZA_CONTROL 0x040u
#define ORGANZA_CONTROL_RESET_LOW 0
#define ORGANZA_CONTROL_RESET_MASK 0x00000001u /* drops all that is inside and clears all below but SCRATCH; reads 1 until that is done */
#define ORGANZA_CONTROL_ABANDON_LOW 1
#define ORGANZA_CONTROL_ABANDON_MASK 0x00000002u /* with reset: the source will not end the input that it has begun; reads 0 */

/* what goes on; ro */
#define ORGANZA_STATUS 0x044u
#define ORGANZA_STATUS_BUSY_LOW 0
#define ORGANZA_STATUS_BUSY_MASK 0x00000001u /* an input is inside whose output has not left */
#define ORGANZA_STATUS_RECEIVING_LOW 1
#define ORGANZA_STATUS_RECEIVING_MASK 0x00000002u /* an input has begun and not ended */
#define ORGANZA_STATUS_SENDING_LOW 2
#define ORGANZA_STATUS_SENDING_MASK 0x00000004u /* an output has begun and not ended */
#define ORGANZA_STATUS_DAMAGED_LOW 3
#define ORGANZA_STATUS_DAMAGED_MASK 0x00000008u /* stored weights are damaged, see DAMAGED: no output will come */
#define ORGANZA_STATUS_EVENT_LOW 4
#define ORGANZA_STATUS_EVENT_MASK 0x00000010u /* there are EVENTS */
#define ORGANZA_STATUS_LOADS_LOW 5
#define ORGANZA_STATUS_LOADS_MASK 0x00000020u /* weights are loaded at run time */
#define ORGANZA_STATUS_UNLOADED_LOW 6
#define ORGANZA_STATUS_UNLOADED_MASK 0x00000040u /* there are no weights: nothing is taken */

/* inputs that were refused; bits stay until they are written as 1; w1 */
#define ORGANZA_EVENTS 0x048u
#define ORGANZA_EVENTS_SHORT_LOW 0
#define ORGANZA_EVENTS_SHORT_MASK 0x00000001u /* TLAST came before the last byte, or TKEEP left out a byte */
#define ORGANZA_EVENTS_LONG_LOW 1
#define ORGANZA_EVENTS_LONG_MASK 0x00000002u /* the last byte came without TLAST, or TKEEP kept one behind it */

/* stored weights; ro */
#define ORGANZA_DAMAGED 0x04cu

/* cycles with busy; ro */
#define ORGANZA_CYCLES_LOW 0x050u

/* kept when CYCLES_LOW was read; ro */
#define ORGANZA_CYCLES_HIGH 0x054u

/* inputs; ro */
#define ORGANZA_FRAMES_IN 0x058u

/* outputs; ro */
#define ORGANZA_FRAMES_OUT 0x05cu

/* inputs; ro */
#define ORGANZA_FRAMES_REFUSED 0x060u

/* to try the bus; rw */
#define ORGANZA_SCRATCH 0x064u

/* further bytes of an image of weights; only with weights that are loaded; wo */
#define ORGANZA_LOAD 0x068u

/* as LOAD, of a new image; only with weights that are loaded; wo */
#define ORGANZA_LOAD_FIRST 0x06cu

/* what became of it; only with weights that are loaded; ro */
#define ORGANZA_LOADING 0x070u
#define ORGANZA_LOADING_LOADED_LOW 0
#define ORGANZA_LOADING_LOADED_MASK 0x00000001u /* a whole image is there */
#define ORGANZA_LOADING_REFUSAL_LOW 8
#define ORGANZA_LOADING_REFUSAL_MASK 0x0000ff00u /* why the last image was refused, 0 if it was not */

/* the weights that are there; only with weights that are loaded; ro */
#define ORGANZA_IMAGE 0x074u

/* the latest complete image at joint k; only with managed exponents at joint k; ro */
#define ORGANZA_EXPONENT(k) (0x100u + 8u * (k))
#define ORGANZA_EXPONENT_COUNT 33u
#define ORGANZA_EXPONENT_PEAK_LOW 0
#define ORGANZA_EXPONENT_PEAK_MASK 0x0000ffffu /* largest |mantissa| */
#define ORGANZA_EXPONENT_EXPONENT_LOW 16
#define ORGANZA_EXPONENT_EXPONENT_MASK 0xffff0000u /* its exponent */

/* kept when EXPONENT of the same joint was read; only with managed exponents at joint k; ro */
#define ORGANZA_OVERFLOW(k) (0x104u + 8u * (k))
#define ORGANZA_OVERFLOW_COUNT 33u
#define ORGANZA_OVERFLOW_OVERFLOWS_LOW 0
#define ORGANZA_OVERFLOW_OVERFLOWS_MASK 0x0000ffffu /* images with an overflow, modulo 2^16 */
#define ORGANZA_OVERFLOW_OVERFLOW_LOW 16
#define ORGANZA_OVERFLOW_OVERFLOW_MASK 0x00010000u /* a value of the image was clamped */

#endif /* ORGANZA_REGISTERS_H */
