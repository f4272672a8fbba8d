/* Frames (RFC 6455 5.2), as the compiled module reads and writes them.
 *
 * Nothing is read beyond the end of what it is given: each index is compared with the size before it
 * is used.
 */
#ifndef WS4PY_FRAMES_H
#define WS4PY_FRAMES_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>
#include <string.h>

#if PY_VERSION_HEX < 0x030A0000
#define Py_NewRef(object) (Py_INCREF(object), (PyObject *)(object))
#endif

enum {
    KEY_SIZE = 4,             /* bytes of a masking key */
    LONGEST = 0xFFFF,         /* bytes of a payload whose length is not written in 64 bits */
    FIN = 0x80,
    TEXT = 0x1,
    BINARY = 0x2,
    MASKED = 0x80,            /* the mask bit of a header's second byte */
};

/* Return eight bytes of keystream, as they stand in memory, from some byte of a payload on. */
static inline uint64_t keystream(const uint8_t *key, Py_ssize_t from)
{
    uint64_t keys;
    int j;

    for (j = 0; j < 8; j++)
        ((uint8_t *)&keys)[j] = key[(from + j) % KEY_SIZE];
    return keys;
}

/* Words are copied in and out, so that nothing depends on alignment; compilers make vectors of them. What comes out
 * may begin before what goes in, and overlap it and its key. */
static inline void mask_bytes(uint8_t *out, const uint8_t *in, Py_ssize_t size, const uint8_t *key)
{
    uint64_t keys = keystream(key, 0), a, b, c, d;
    Py_ssize_t i = 0;

    for (; i + 32 <= size; i += 32) {  /* Unrolled by hand: not every compiler does it wherever this is inlined. */
        memcpy(&a, in + i, 8);
        memcpy(&b, in + i + 8, 8);
        memcpy(&c, in + i + 16, 8);
        memcpy(&d, in + i + 24, 8);
        a ^= keys, b ^= keys, c ^= keys, d ^= keys;
        memcpy(out + i, &a, 8);
        memcpy(out + i + 8, &b, 8);
        memcpy(out + i + 16, &c, 8);
        memcpy(out + i + 24, &d, 8);
    }
    for (; i < size; i++)
        out[i] = in[i] ^ ((uint8_t *)&keys)[i % 8];
}

/* Write a header without its key; return how many bytes it has, 10 at most. */
static inline int write_header(uint8_t *out, uint8_t first, Py_ssize_t length, int masked)
{
    int field = length < 126 ? 0 : length <= LONGEST ? 2 : 8;
    int i;

    out[0] = first;
    out[1] = (uint8_t)((masked ? MASKED : 0) | (field == 0 ? length : field == 2 ? 126 : 127));
    for (i = 0; i < field; i++)
        out[2 + i] = (uint8_t)((uint64_t)length >> 8 * (field - 1 - i));
    return 2 + field;
}

/* Say whether bytes are ASCII once they are unmasked; keys are 0 if they are. */
static inline int is_ascii(const uint8_t *data, Py_ssize_t size, uint64_t keys)
{
    uint64_t word, all = 0;
    Py_ssize_t i = 0;

    for (; i + 8 <= size; i += 8) {
        memcpy(&word, data + i, 8);
        all |= word ^ keys;
    }
    for (; i < size; i++)
        all |= data[i] ^ ((uint8_t *)&keys)[i % 8];
    return !(all & UINT64_C(0x8080808080808080));
}

/* Say whether bytes are UTF-8: 1, 0, or -1 on errors. */
static inline int is_utf8(const uint8_t *data, Py_ssize_t size)
{
    PyObject *text;

    if (is_ascii(data, size, 0))
        return 1;
    text = PyUnicode_DecodeUTF8((const char *)data, size, NULL);
    if (text != NULL) {
        Py_DECREF(text);
        return 1;
    }
    if (!PyErr_ExceptionMatches(PyExc_UnicodeDecodeError))
        return -1;
    PyErr_Clear();
    return 0;
}

/* Where a message stands in a buffer. */
typedef struct {
    int is_text;
    Py_ssize_t length, start, end;  /* of the payload */
} Place;

/* Find the message that begins at pos, whether it has come whole or not, if it has one frame that is nothing but FIN
 * and a length as short as can be, and all of the header is there. */
static inline int find_header(const uint8_t *buf, Py_ssize_t size, Py_ssize_t pos, int is_masked, Py_ssize_t most,
                              Place *place)
{
    int i, field = 0;
    uint64_t length, least = 0;
    Py_ssize_t start;

    if (pos < 0 || pos > size - 2 || most < 0)
        return 0;
    if (buf[pos] != (FIN | TEXT) && buf[pos] != (FIN | BINARY))
        return 0;
    if ((buf[pos + 1] & MASKED) != (is_masked ? MASKED : 0))
        return 0;
    length = buf[pos + 1] & ~MASKED;
    start = pos + 2;
    if (length >= 126) {
        field = length == 126 ? 2 : 8;
        least = length == 126 ? 126 : LONGEST + 1;
        length = 0;
        if (field > size - start)
            return 0;
    }
    for (i = 0; i < field; i++)
        length = length << 8 | buf[start + i];
    start += field + (is_masked ? KEY_SIZE : 0);
    if (start > size || length < least || length > (uint64_t)most || length > (uint64_t)(PY_SSIZE_T_MAX - start))
        return 0;
    *place = (Place){buf[pos] == (FIN | TEXT), (Py_ssize_t)length, start, start + (Py_ssize_t)length};
    return 1;
}

/* Find the message that begins at pos, if it is one that take_messages takes. */
static inline int find_message(const uint8_t *buf, Py_ssize_t size, Py_ssize_t pos, int is_masked, Py_ssize_t most,
                               Place *place)
{
    return find_header(buf, size, pos, is_masked, most < LONGEST ? most : LONGEST, place) && place->end <= size;
}

/* Find the message that begins here, if it has not come whole. */
static inline int find_begun(const uint8_t *buf, Py_ssize_t size, int is_masked, Py_ssize_t most, Place *place)
{
    return find_header(buf, size, 0, is_masked, most, place) && place->end > size;
}

/* Return the payload as bytes; NULL without an exception if it should be UTF-8 and is not. */
static inline PyObject *read_payload(const uint8_t *buf, const Place *place, int is_masked)
{
    PyObject *payload = PyBytes_FromStringAndSize(NULL, place->length);
    uint8_t *out;

    if (payload == NULL)
        return NULL;
    out = (uint8_t *)PyBytes_AS_STRING(payload);
    if (is_masked)
        mask_bytes(out, buf + place->start, place->length, buf + place->start - KEY_SIZE);
    else
        memcpy(out, buf + place->start, (size_t)place->length);
    if (place->is_text && is_utf8(out, place->length) != 1)
        Py_CLEAR(payload);
    return payload;
}

#endif
