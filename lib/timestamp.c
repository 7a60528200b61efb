#include "lib/timestamp.h"

#include <stdbool.h>
#include <time.h>

/* Two or four digits at an offset that the caller knows is there. */
static int
digits(struct slice text, size_t from, size_t count, int *number)
{
	uint64_t value;

	if (slice_to_uint(slice_first(slice_from_offset(text, from), count),
		9999, &value) < 0)
		return -1;
	*number = (int)value;
	return 0;
}

static bool
is_leap(int year)
{
	return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
}

static bool
is_date(int year, int month, int day)
{
	static const int days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30,
		31 };

	if (year < 1970 || month < 1 || month > 12 || day < 1)
		return false;
	return day <= days[month - 1] + (month == 2 && is_leap(year));
}

/*
 * Days since 1970-01-01 in the Gregorian calendar; counts years from March, so
 * that the leap day comes last.
 */
static int64_t
day_number(int year, int month, int day)
{
	int64_t y = month > 2 ? year : year - 1;
	int64_t m = month > 2 ? month - 3 : month + 9;

	return 365 * y + y / 4 - y / 100 + y / 400 + (153 * m + 2) / 5 + day -
	       1 - 719468;
}

/* The fraction after the seconds, "." or "," first, "Z" last, as microseconds.
 */
static int
parse_fraction(struct slice text, int64_t *fraction_us)
{
	int64_t scale = 100000;

	*fraction_us = 0;
	if (text.size < 1 || text.data[text.size - 1] != 'Z')
		return -1;
	if (text.size == 1)
		return 0;
	if ((text.data[0] != '.' && text.data[0] != ',') || text.size == 2)
		return -1;
	for (size_t i = 1; i < text.size - 1; i++) {
		if (text.data[i] < '0' || text.data[i] > '9')
			return -1;
		*fraction_us += (text.data[i] - '0') * scale;
		scale /= 10;
	}
	return 0;
}

int
timestamp_parse(struct slice text, int64_t *moment_us)
{
	int year, month, day, hour, minute, second;
	int64_t fraction_us;

	if (text.size < 15 || digits(text, 0, 4, &year) < 0 ||
	    digits(text, 4, 2, &month) < 0 || digits(text, 6, 2, &day) < 0 ||
	    digits(text, 8, 2, &hour) < 0 || digits(text, 10, 2, &minute) < 0 ||
	    digits(text, 12, 2, &second) < 0 ||
	    parse_fraction(slice_from_offset(text, 14), &fraction_us) < 0)
		return -1;
	if (!is_date(year, month, day) || hour > 23 || minute > 59 ||
	    second > 59)
		return -1;
	*moment_us =
	    ((day_number(year, month, day) * 24 + hour) * 60 + minute) * 60 +
	    second;
	*moment_us = *moment_us * TIMESTAMP_SECOND + fraction_us;
	return 0;
}

int
timestamp_format(struct buf *out, int64_t moment_us)
{
	time_t seconds = (time_t)(moment_us / TIMESTAMP_SECOND);
	struct tm utc;

	if (moment_us < 0 || !gmtime_r(&seconds, &utc) ||
	    utc.tm_year + 1900 > 9999)
		return -1;
	return buf_printf(out, "%04d%02d%02d%02d%02d%02d.%06dZ",
	    utc.tm_year + 1900, utc.tm_mon + 1, utc.tm_mday, utc.tm_hour,
	    utc.tm_min, utc.tm_sec, (int)(moment_us % TIMESTAMP_SECOND));
}
