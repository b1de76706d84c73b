package main

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"time"
)

// filler hands out values that differ from each other.
type filler struct {
	count uint8
	// alone is the number of the one truth value that is true, 0 for all.
	alone  int
	truths int
}

func key(number uint8) string {
	var bytes [32]byte
	for i := range bytes {
		bytes[i] = number
	}

	return base64.StdEncoding.EncodeToString(bytes[:])
}

func (f *filler) next() uint8 {
	f.count++

	return f.count
}

// fill sets everything below v. name is that of the field.
func (f *filler) fill(v reflect.Value, name string) {
	if f.special(v) {
		return
	}

	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				f.fill(v.Field(i), v.Type().Field(i).Name)
			}
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		f.fill(v.Elem(), name)
	case reflect.Slice:
		f.fillSlice(v, name)
	case reflect.Map:
		k, e := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		f.fill(k, name)
		f.fill(e, name)
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(k, e)
	case reflect.String:
		v.SetString(f.text(name))
	case reflect.Bool:
		f.truths++
		v.SetBool(f.alone == 0 || f.alone == f.truths)
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		v.SetInt(f.number(v))
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		v.SetUint(uint64(f.number(v)))
	default:
		panic(fmt.Sprintf("no value for %s %s", name, v.Type()))
	}
}

func (f *filler) special(v reflect.Value) bool {
	switch p := v.Addr().Interface().(type) {
	case *netip.Addr:
		*p = netip.AddrFrom4([4]byte{10, 1, 2, f.next()})
	case *netip.AddrPort:
		// IPv6, so that both lengths occur.
		*p = netip.AddrPortFrom(netip.MustParseAddr(fmt.Sprintf("2001:db8::%x", f.next())), 51820)
	case *netip.Prefix:
		*p = netip.PrefixFrom(netip.AddrFrom4([4]byte{10, f.next(), 3, 0}), 24)
	case *time.Time:
		*p = time.Date(2026, time.March, 4, 5, 6, int(f.next()%60), 789_000_000, time.UTC)
	default:
		return false
	}

	return true
}

func (f *filler) fillSlice(v reflect.Value, name string) {
	if v.Type().Elem() == reflect.TypeFor[byte]() {
		v.Set(reflect.ValueOf([]byte{0x52, 0x54, 0, 1, 2, f.next()}).Convert(v.Type()))

		return
	}

	v.Set(reflect.MakeSlice(v.Type(), 2, 2))

	for i := range 2 {
		f.fill(v.Index(i), name)
	}
}

// number is small where numbers have names, since only the first ones surely have.
func (f *filler) number(v reflect.Value) int64 {
	if v.CanInterface() && isNamed(v) {
		f.next()

		return 1
	}

	return 100 + int64(f.next())%27
}

func (f *filler) text(name string) string {
	number := f.next()

	switch {
	case strings.HasSuffix(name, "Key"):
		return key(number)
	case strings.HasSuffix(name, "Endpoint"):
		return fmt.Sprintf("192.0.2.%d:51820", number)
	case strings.EqualFold(name, "nodename"), strings.EqualFold(name, "hostname"), name == "Label":
		return fmt.Sprintf("node-%d", number)
	default:
		return fmt.Sprintf("%s-%d", strings.ToLower(name), number)
	}
}

// written is a spec as JSON can say it: addresses and times as text, bytes in hexadecimal, and each number that has a name
// with it. Keys are those of the YAML form.
func written(v any) any {
	return writtenValue(reflect.ValueOf(v))
}

func writtenValue(v reflect.Value) any {
	switch x := v.Interface().(type) {
	case netip.Addr, netip.AddrPort, netip.Prefix:
		return fmt.Sprint(x)
	case time.Time:
		return instant(x)
	}

	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		if v.IsNil() {
			return nil
		}

		return writtenValue(v.Elem())
	case reflect.Struct:
		return writtenStruct(v)
	case reflect.Slice:
		if v.Type().Elem() == reflect.TypeFor[byte]() {
			return hex.EncodeToString(v.Bytes())
		}

		list := make([]any, v.Len())
		for i := range list {
			list[i] = writtenValue(v.Index(i))
		}

		return list
	case reflect.Map:
		fields := map[string]any{}
		for _, k := range v.MapKeys() {
			fields[k.String()] = writtenValue(v.MapIndex(k))
		}

		return fields
	default:
		return writtenScalar(v)
	}
}

func writtenStruct(v reflect.Value) map[string]any {
	fields := map[string]any{}

	for i := range v.NumField() {
		field := v.Type().Field(i)
		if !field.IsExported() {
			continue
		}

		name, _, _ := strings.Cut(field.Tag.Get("yaml"), ",")
		fields[name] = writtenValue(v.Field(i))
	}

	return fields
}

func writtenScalar(v reflect.Value) any {
	if isNamed(v) {
		var number any = v.Interface()
		if v.CanInt() {
			number = v.Int()
		} else if v.CanUint() {
			number = v.Uint()
		}

		return map[string]any{"number": number, "name": fmt.Sprint(v.Interface())}
	}

	return v.Interface()
}

func isNamed(v reflect.Value) bool {
	_, named := v.Interface().(fmt.Stringer)

	return named && (v.CanInt() || v.CanUint()) && v.Type() != reflect.TypeFor[time.Duration]()
}

func instant(t time.Time) string {
	return t.UTC().Format("2006-01-02T15:04:05.000000000Z")
}
