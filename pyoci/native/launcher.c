/* The command `pyoci`: this program with CPython inside, and the hot verbs' Python modules as bytecode.
 *
 * Starting `python -I -S` costs 6–8 ms, half of it for what the hot verbs never use: the search for the
 * standard library, codecs, standard streams, signal handlers. This program takes the interpreter's start in
 * its two documented phases (Python/C API, "Multi-Phase Initialization"): core first, where builtin modules and
 * our own bytecode can run; the rest when some import asks for it (`complete`, called by bootstrap.py).
 *
 * Isolated by construction: no PYTHON* variable is read, no module is looked for in the current folder, and a
 * hot verb opens no Python file at all. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <fcntl.h>
#include <limits.h>
#include <marshal.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "launcher_config.h" /* generated: where the standard library is, and where our package may be */

extern PyStatus _Py_InitializeMain(void);
extern PyMODINIT_FUNC PyInit__runtime(void);

int __real__Py_Deepfreeze_Init(void) __attribute__((weak));
int __wrap__Py_Deepfreeze_Init(void);

/* CPython 3.11 and 3.12 carry modules of the standard library as ready objects, 800 KiB of them, and intern every
 * string in them as their first act. A hot verb uses one of these modules: the rest stays as it is on disk. */
int __wrap__Py_Deepfreeze_Init(void)
{
	return 0;
}

__attribute__((unused)) static PyObject *without(const char *name)
{
	return PyErr_Format(PyExc_ImportError, "the command pyoci has no %s", name);
}
#include "without.h" /* generated: builtin modules of CPython that cannot be linked here */

struct frozen {
	const char *name;
	uint32_t offset, size;
	int is_package;
};
#include "frozen.h" /* generated: struct frozen frozen[], and frozen_code */

static const char *const more_dirs[] = { SITE_DIRS };
static char libdir[PATH_MAX]; /* the folder that holds the package */

/* (bytecode, is_package) of one of our modules, or ("verb:" before its name) of all that a verb loads; or None. */
static PyObject *module_code(PyObject *self, PyObject *name)
{
	(void)self;
	const char *wanted = PyUnicode_AsUTF8(name);
	if (!wanted) { /* bytes that are no UTF-8: no module has such a name */
		PyErr_Clear();
		Py_RETURN_NONE;
	}
	for (size_t low = 0, high = sizeof frozen / sizeof *frozen; low < high;) {
		size_t middle = (low + high) / 2;
		const struct frozen *f = &frozen[middle];
		int order = strcmp(wanted, f->name);
		if (!order) {
			PyObject *code = PyMarshal_ReadObjectFromString((const char *)frozen_code + f->offset, f->size);
			return code ? Py_BuildValue("(NO)", code, f->is_package ? Py_True : Py_False) : NULL;
		}
		if (order < 0)
			high = middle;
		else
			low = middle + 1;
	}
	Py_RETURN_NONE;
}

static int completed;

/* The interpreter refuses to start with a folder as its standard input: it sees /dev/null there meanwhile. */
static PyStatus initialize_main(void)
{
	struct stat st;
	int kept = -1;
	if (!fstat(0, &st) && S_ISDIR(st.st_mode)) {
		int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
		kept = null < 0 ? -1 : fcntl(0, F_DUPFD_CLOEXEC, 3);
		if (kept >= 0)
			dup2(null, 0);
		if (null >= 0)
			close(null);
	}
	PyStatus status = _Py_InitializeMain();
	if (kept >= 0) {
		dup2(kept, 0);
		close(kept);
	}
	return status;
}

/* The second phase of the interpreter's start. */
static PyObject *complete(PyObject *self, PyObject *none)
{
	(void)self, (void)none;
	if (!completed) {
		completed = 1;
		if (__real__Py_Deepfreeze_Init && __real__Py_Deepfreeze_Init() < 0)
			return PyErr_NoMemory();
		PyGC_Enable(); /* no hot verb, and perhaps a long one */
		PyStatus status = initialize_main();
		if (PyStatus_Exception(status))
			return PyErr_Format(PyExc_ImportError, "the standard library at " STDLIB " does not load: %s",
					    status.err_msg ? status.err_msg : "unknown");
	}
	Py_RETURN_NONE;
}

/* Finds codecs other than those that str and bytes have built in. */
static PyObject *find_codec(PyObject *self, PyObject *name)
{
	PyObject *done = complete(self, NULL), *encodings = done ? PyImport_ImportModule("encodings") : NULL;
	PyObject *found = encodings ? PyObject_CallMethod(encodings, "search_function", "O", name) : NULL;
	Py_XDECREF(encodings);
	Py_XDECREF(done);
	return found;
}

/* Text that is not valid UTF-8 has CPython look for an error handler, and so set up its registry of codecs, which imports
 * the package `encodings`: in the first phase that fails, and the registry stays without it for good. So it is set up
 * here, where it fails early and cheaply, and gets a search of ours instead. */
static void prepare_codecs(void)
{
	static PyMethodDef def = { "find_codec", find_codec, METH_O, NULL };
	PyObject *search = PyCFunction_New(&def, NULL);
	if (search && PyCodec_Register(search) < 0) {
		PyErr_Clear(); /* no module named encodings: the registry is there all the same */
		PyCodec_Register(search);
	}
	PyErr_Clear();
	Py_XDECREF(search);
}

static PyMethodDef methods[] = {
	{ "module_code", module_code, METH_O, NULL },
	{ "complete", complete, METH_NOARGS, NULL },
	{ NULL, NULL, 0, NULL },
};
static struct PyModuleDef definition = {
	PyModuleDef_HEAD_INIT, .m_name = "_pyoci_launcher", .m_size = -1, .m_methods = methods
};

PyMODINIT_FUNC PyInit__pyoci_launcher(void);
PyMODINIT_FUNC PyInit__pyoci_launcher(void)
{
	PyObject *module = PyModule_Create(&definition), *sites = PyList_New(0);
	for (size_t i = 0; sites && i < sizeof more_dirs / sizeof *more_dirs; i++) {
		PyObject *word = PyUnicode_DecodeFSDefault(more_dirs[i]);
		if (!word || PyList_Append(sites, word))
			return NULL;
		Py_DECREF(word);
	}
	if (!module || !sites || PyModule_AddObject(module, "sites", sites))
		return NULL;
	if ((PyModule_AddStringConstant(module, "libdir", libdir) ||
		       PyModule_AddStringConstant(module, "dynload", DYNLOAD) ||
		       PyModule_AddStringConstant(module, "suffix", EXT_SUFFIX)))
		return NULL;
	return module;
}

/* The package stands in a fixed place (a checkout, `make install`), or where pip puts it beside bin/. */
static int find_libdir(void)
{
	static const char *const places[] = { LIBDIRS };
	char exe[PATH_MAX];
	ssize_t length = readlink("/proc/self/exe", exe, sizeof exe - 1);
	exe[length > 0 ? length : 0] = 0;
	for (int i = 0; i < 2 && strrchr(exe, '/'); i++)
		*strrchr(exe, '/') = 0; /* the prefix: without bin/pyoci */
	for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
		char probe[PATH_MAX];
		int absolute = places[i][0] == '/';
		int n = snprintf(libdir, sizeof libdir, "%s%s%s", absolute ? "" : exe, absolute ? "" : "/", places[i]);
		if (n < (int)sizeof libdir &&
			snprintf(probe, sizeof probe, "%s/pyoci/_version.py", libdir) < (int)sizeof probe && !access(probe, F_OK))
			return 0;
	}
	fprintf(stderr, "pyoci: its package is not beside %s: install it again\n", exe);
	return -1;
}

static void check(PyStatus status)
{
	if (!PyStatus_Exception(status))
		return;
	fprintf(stderr, "pyoci: its interpreter does not start: %s\n", status.err_msg ? status.err_msg : "no reason is known");
	exit(1);
}

static void add_path(PyConfig *config, const char *path)
{
	wchar_t *wide = Py_DecodeLocale(path, NULL);
	if (wide) {
		check(PyWideStringList_Append(&config->module_search_paths, wide));
		PyMem_RawFree(wide);
	}
}

/* The first two arenas of the object allocator (1 MiB each) are filled whatever a verb does: a call for each instead of 250 page faults. */
static void *arena_alloc(void *ctx, size_t size)
{
	static int made;
	(void)ctx;
	int populate = made++ < 2 ? MAP_POPULATE : 0;
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | populate, -1, 0);
	return p == MAP_FAILED ? NULL : p;
}

static void arena_free(void *ctx, void *p, size_t size)
{
	(void)ctx;
	munmap(p, size);
}

#if PY_VERSION_HEX < 0x030c0000
PyStatus __real__PyGC_Init(PyInterpreterState *interp) __attribute__((weak));
PyStatus __wrap__PyGC_Init(PyInterpreterState *interp);

/* CPython 3.11 searches for garbage several times before it has started, and finds none: 0.2 ms. With a shared libpython nothing
 * calls this. */
PyStatus __wrap__PyGC_Init(PyInterpreterState *interp)
{
	PyGC_Disable();
	return __real__PyGC_Init(interp);
}
#endif

static void start(int argc, char **argv)
{
	PyObjectArenaAllocator arenas = { NULL, arena_alloc, arena_free };
	PyObject_SetArenaAllocator(&arenas);
	PyPreConfig before;
	PyPreConfig_InitIsolatedConfig(&before);
	before.utf8_mode = 1;
	check(Py_PreInitialize(&before));
	PyImport_AppendInittab("_pyoci_launcher", PyInit__pyoci_launcher);
	PyImport_AppendInittab("pyoci.native._runtime", PyInit__runtime);
	PyConfig config;
	PyConfig_InitIsolatedConfig(&config);
	config.site_import = 0;
	config.write_bytecode = 0;
	config.install_signal_handlers = 0;
	config.parse_argv = 0;
	config.pathconfig_warnings = 0;
	config._init_main = 0;
	config.module_search_paths_set = 1;
	add_path(&config, STDLIB);
	add_path(&config, DYNLOAD);
	add_path(&config, libdir);
	for (size_t i = 0; i < sizeof more_dirs / sizeof *more_dirs; i++)
		add_path(&config, more_dirs[i]);
	check(PyConfig_SetBytesString(&config, &config.executable, PYTHON));
	check(PyConfig_SetBytesString(&config, &config.prefix, PREFIX));
	check(PyConfig_SetBytesString(&config, &config.exec_prefix, PREFIX));
	check(PyConfig_SetBytesString(&config, &config.base_prefix, PREFIX));
	check(PyConfig_SetBytesString(&config, &config.base_exec_prefix, PREFIX));
	check(PyConfig_SetBytesArgv(&config, argc, argv));
	check(Py_InitializeFromConfig(&config));
	PyConfig_Clear(&config);
}

/* Before our own code could catch it: an extension module that does not load, or no memory. One line; what Python has
 * to say besides is for --debug, and takes the whole interpreter. */
static int failed(int argc, char **argv)
{
	PyObject *type, *value, *trace;
	if (PyErr_ExceptionMatches(PyExc_SystemExit))
		PyErr_Print(); /* ends the process as it says */
	PyErr_Fetch(&type, &value, &trace);
	PyErr_NormalizeException(&type, &value, &trace);
	PyObject *text = value ? PyObject_Str(value) : NULL;
	const char *said = text ? PyUnicode_AsUTF8(text) : NULL;
	fprintf(stderr, "pyoci: cannot start: %s: %s\n", type ? ((PyTypeObject *)type)->tp_name : "no reason is known",
		said ? said : "");
	for (int i = 1; i < argc; i++)
		if (!strcmp(argv[i], "--debug")) {
			PyErr_Clear();
			complete(NULL, NULL);
			PyErr_Restore(type, value, trace);
			PyErr_Print();
			break;
		}
	return 1;
}

#define ROOM (32ul << 20) /* bytes; a run takes 17 MiB of address space, a verb with the whole interpreter up to twice that */

/* CPython without memory prints pieces of a traceback, or never ends: 3.11 tries again and again to note an exception. */
static int has_room(void)
{
	struct rlimit limit;
	if (getrlimit(RLIMIT_AS, &limit) || limit.rlim_cur >= ROOM)
		return 1;
	fprintf(stderr, "pyoci: out of memory: raise the caller's limit of address space (ulimit -v) to %lu KiB at least\n", ROOM >> 10);
	return 0;
}

int main(int argc, char **argv)
{
	/* Errors to undo what was made, instead of an end on the spot; Python ignores them as well where it handles signals. */
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN);
	if (!has_room() || find_libdir())
		return 1;
	start(argc, argv);
	prepare_codecs();
	PyGC_Disable(); /* a verb makes no garbage worth a search, and the process ends with it */
	PyObject *args = PyList_New(0);
	for (int i = 0; args && i < argc; i++) {
		PyObject *word = PyUnicode_DecodeFSDefault(argv[i]);
		if (word)
			PyList_Append(args, word);
		Py_XDECREF(word);
	}
	PySys_SetObject("argv", args);
	const struct frozen *f = &boot;
	PyObject *code = PyMarshal_ReadObjectFromString((const char *)frozen_code + f->offset, f->size);
	PyObject *globals = PyDict_New();
	if (code && globals) {
		PyDict_SetItemString(globals, "__builtins__", PyEval_GetBuiltins());
		PyEval_EvalCode(code, globals, globals); /* ends the process */
	}
	return failed(argc, argv);
}
