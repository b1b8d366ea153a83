//! Calls by the host: typed and untyped, with native arguments and with arrays of values.

use precast_loader::{Error, ExternRef, Func, Instance, Store, V128, Val};
use precast_tests::{Guest, strategies};

const WAT: &str = r#"
(module
  (func (export "nothing"))
  (func (export "add") (param i32 i32) (result i32) (i32.add (local.get 0) (local.get 1)))
  (func (export "mixed") (param i32 i64 f32 f64) (result f64)
    (f64.add
      (f64.add (f64.convert_i32_s (local.get 0)) (f64.convert_i64_s (local.get 1)))
      (f64.add (f64.promote_f32 (local.get 2)) (local.get 3))))
  (func (export "swap") (param i64 i32) (result i32 i64) (local.get 1) (local.get 0))
  (func (export "many")
    (param i32 i64 f32 f64 i32 i64 f32 f64 i32 i64 f32 f64 i32 i64 f32 f64)
    (result f64 i64)
    (f64.add (local.get 3) (f64.add (local.get 7) (f64.add (local.get 11) (local.get 15))))
    (i64.add (local.get 1) (i64.add (local.get 5) (i64.add (local.get 9) (local.get 13)))))
  (func (export "sixteen")
    (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)
    (i32.sub (local.get 15) (local.get 6)))
  (func (export "twenty-one") (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32
      i32 i32 i32 i32 i32 i32) (result i32)
    (i32.sub (local.get 20) (local.get 0)))
  (func (export "vector") (param v128 i32) (result v128)
    (i32x4.add (local.get 0) (i32x4.splat (local.get 1))))
  (func (export "extern") (param externref) (result externref) (local.get 0))
  (func (export "func") (param funcref) (result funcref) (local.get 0)))
"#;

fn each(test: impl Fn(&mut Store<()>, Instance)) {
    for strategy in strategies() {
        let mut guest = Guest::new(WAT, strategy);
        test(&mut guest.store, guest.instance);
    }
}

#[test]
fn typed_calls_in_registers() {
    for strategy in strategies() {
        let mut guest = Guest::new(WAT, strategy);
        guest.call::<(), ()>("nothing", ()).unwrap();
        let mut add = |a, b| guest.call::<(i32, i32), i32>("add", (a, b)).unwrap();
        assert_eq!(add(7, 9), 16);
        assert_eq!(add(i32::MAX, 1), i32::MIN);
        let unsigned = guest.call::<(u32, u32), u32>("add", (u32::MAX, 2));
        assert_eq!(unsigned.unwrap(), 1);
        let mixed = guest.call::<(i32, i64, f32, f64), f64>("mixed", (1, -2, 0.5, 4.25));
        assert_eq!(mixed.unwrap(), 3.75);
    }
}

#[test]
fn arguments_on_the_stack() {
    each(|store, instance| {
        type Sixteen = (
            i32,
            i32,
            i32,
            i32,
            i32,
            i32,
            i32,
            i32,
            i32,
            i32,
            i32,
            i32,
            i32,
            i32,
            i32,
            i32,
        );
        let f = instance
            .get_typed_func::<Sixteen, i32>(&mut *store, "sixteen")
            .unwrap();
        let args = (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
        assert_eq!(f.call(&mut *store, args).unwrap(), 9);
    });
}

#[test]
fn several_results() {
    each(|store, instance| {
        let swap = instance
            .get_typed_func::<(i64, i32), (i32, i64)>(&mut *store, "swap")
            .unwrap();
        assert_eq!(swap.call(&mut *store, (-5, 6)).unwrap(), (6, -5));
        type Many = (
            i32,
            i64,
            f32,
            f64,
            i32,
            i64,
            f32,
            f64,
            i32,
            i64,
            f32,
            f64,
            i32,
            i64,
            f32,
            f64,
        );
        let many = instance
            .get_typed_func::<Many, (f64, i64)>(&mut *store, "many")
            .unwrap();
        let args = (
            0, 1, 0., 1., 0, 10, 0., 10., 0, 100, 0., 100., 0, 1000, 0., 1000.,
        );
        assert_eq!(many.call(&mut *store, args).unwrap(), (1111., 1111));
    });
}

#[test]
fn vectors_and_references() {
    each(|store, instance| {
        let f = instance
            .get_typed_func::<(V128, i32), V128>(&mut *store, "vector")
            .unwrap();
        let v = V128::from(0x0000_0004_0000_0003_0000_0002_ffff_ffff);
        let sum = f.call(&mut *store, (v, 1)).unwrap();
        assert_eq!(sum.as_u128(), 0x0000_0005_0000_0004_0000_0003_0000_0000);

        let f = instance
            .get_typed_func::<Option<ExternRef>, Option<ExternRef>>(&mut *store, "extern")
            .unwrap();
        let value = ExternRef::new("a string".to_string());
        let same = f.call(&mut *store, Some(value.clone())).unwrap().unwrap();
        assert!(same.ptr_eq(&value));
        assert_eq!(same.data().downcast_ref::<String>().unwrap(), "a string");
        assert!(f.call(&mut *store, None).unwrap().is_none());

        let f = instance
            .get_typed_func::<Option<Func>, Option<Func>>(&mut *store, "func")
            .unwrap();
        let add = instance.get_func(&mut *store, "add").unwrap();
        let same = f.call(&mut *store, Some(add)).unwrap().unwrap();
        let same = same.typed::<(i32, i32), i32>(&mut *store).unwrap();
        assert_eq!(same.call(&mut *store, (1, 2)).unwrap(), 3);
        assert!(f.call(&mut *store, None).unwrap().is_none());
    });
}

#[test]
fn host_functions_as_references() {
    each(|store, instance| {
        let double = Func::wrap(&mut *store, |x: i32| x * 2);
        let f = instance
            .get_typed_func::<Option<Func>, Option<Func>>(&mut *store, "func")
            .unwrap();
        let same = f.call(&mut *store, Some(double)).unwrap().unwrap();
        let same = same.typed::<i32, i32>(&mut *store).unwrap();
        assert_eq!(same.call(&mut *store, 21).unwrap(), 42);
    });
}

#[test]
fn untyped_calls() {
    each(|store, instance| {
        let swap = instance.get_func(&mut *store, "swap").unwrap();
        let mut results = [Val::I32(0), Val::I32(0)];
        swap.call(&mut *store, &[Val::I64(1), Val::I32(2)], &mut results)
            .unwrap();
        assert_eq!((results[0].i32(), results[1].i64()), (Some(2), Some(1)));

        let long = instance.get_func(&mut *store, "twenty-one").unwrap();
        let args: Vec<_> = (0..21).map(|i| Val::I32(i + 1)).collect();
        long.call(&mut *store, &args, &mut results[..1]).unwrap();
        assert_eq!(results[0].i32(), Some(20));
        assert_eq!(long.ty(&*store).params().len(), 21);
    });
}

#[test]
fn wrong_types_are_errors() {
    each(|store, instance| {
        let error = instance
            .get_typed_func::<(i32, i64), i32>(&mut *store, "add")
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "the exported function `add`: found func (i32 i32) -> (i32), \
             expected func (i32 i64) -> (i32)"
        );
        let error = instance
            .get_typed_func::<(), ()>(&mut *store, "absent")
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "there is no exported function named `absent`"
        );
        let add = instance.get_func(&mut *store, "add").unwrap();
        let error = add
            .call(&mut *store, &[Val::I32(1)], &mut [Val::I32(0)])
            .unwrap_err();
        assert!(matches!(error, Error::Count { .. }), "{error}");
        assert_eq!(
            error.to_string(),
            "number of arguments of a function: found 1, expected 2"
        );
        let error = add
            .call(&mut *store, &[Val::I32(1), Val::I64(2)], &mut [Val::I32(0)])
            .unwrap_err();
        assert!(matches!(error, Error::Type { .. }), "{error}");
        assert_eq!(
            error.to_string(),
            "arguments of a function: found (i32 i64), expected (i32 i32)"
        );
        let error = add
            .call(&mut *store, &[Val::I32(1), Val::I32(2)], &mut [])
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "number of places for results of a function: found 0, expected 1"
        );
    });
}

#[test]
#[should_panic(expected = "used with a store that does not own it")]
fn items_of_another_store() {
    each(|store, instance| {
        let add = instance
            .get_typed_func::<(i32, i32), i32>(store, "add")
            .unwrap();
        add.call(&mut precast_tests::store(), (1, 2)).ok();
    });
}

#[test]
fn a_reference_of_another_store_is_an_error() {
    each(|store, instance| {
        let foreign = Func::wrap(&mut precast_tests::store(), || 1_i32);
        let f = instance
            .get_typed_func::<Option<Func>, Option<Func>>(&mut *store, "func")
            .unwrap();
        let error = f.call(&mut *store, Some(foreign)).unwrap_err();
        assert!(
            error.to_string().contains("belongs to another store"),
            "{error}"
        );
    });
}
