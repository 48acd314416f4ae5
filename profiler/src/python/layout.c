/* Prints, of the CPython that is compiled against, the offsets that layout.rs has: a name and a number a line. */
#define Py_BUILD_CORE 1
#include <Python.h>
#include <frameobject.h>
#include <stddef.h>
#include <stdio.h>
#include "internal/pycore_pystate.h"
#if PY_VERSION_HEX >= 0x03090000
#include "internal/pycore_interp.h"
#endif
#if PY_VERSION_HEX >= 0x030b0000
#include "internal/pycore_code.h"
#include "internal/pycore_frame.h"
typedef _PyInterpreterFrame Frame;
#else
typedef PyFrameObject Frame;
#endif

#define OFFSET(name, type, member) printf(name " %zu\n", offsetof(type, member))

int main(void)
{
    printf("minor %d\n", PY_MINOR_VERSION);
#if PY_VERSION_HEX >= 0x030b0000
    OFFSET("threads", PyInterpreterState, threads.head);
    OFFSET("native_thread", PyThreadState, native_thread_id);
    OFFSET("previous", Frame, previous);
    OFFSET("name", PyCodeObject, co_qualname);
    OFFSET("instructions", PyCodeObject, co_code_adaptive);
#else
    OFFSET("threads", PyInterpreterState, tstate_head);
    OFFSET("top", PyThreadState, frame);
    OFFSET("previous", Frame, f_back);
    OFFSET("instruction", Frame, f_lasti);
    OFFSET("name", PyCodeObject, co_name);
    OFFSET("instructions", PyCodeObject, co_code);
#endif
#if PY_VERSION_HEX >= 0x030d0000
    OFFSET("top", PyThreadState, current_frame);
    OFFSET("code", Frame, f_executable);
    OFFSET("instruction", Frame, instr_ptr);
#else
    OFFSET("code", Frame, f_code);
#if PY_VERSION_HEX >= 0x030b0000
    OFFSET("top", PyThreadState, cframe);
    OFFSET("current", _PyCFrame, current_frame);
    OFFSET("instruction", Frame, prev_instr);
#endif
#endif
#if PY_VERSION_HEX >= 0x030c0000
    OFFSET("entry", Frame, owner);
    OFFSET("frame_words", PyCodeObject, co_framesize);
#elif PY_VERSION_HEX >= 0x030b0000
    OFFSET("entry", Frame, is_entry);
#endif
#if PY_VERSION_HEX >= 0x030a0000
    OFFSET("line_table", PyCodeObject, co_linetable);
#else
    OFFSET("line_table", PyCodeObject, co_lnotab);
#endif
    OFFSET("next_thread", PyThreadState, next);
    OFFSET("pthread", PyThreadState, thread_id);
    OFFSET("file_name", PyCodeObject, co_filename);
    OFFSET("first_line", PyCodeObject, co_firstlineno);
    printf("ascii %zu\ncompact %zu\n", sizeof(PyASCIIObject), sizeof(PyCompactUnicodeObject));
    return 0;
}
