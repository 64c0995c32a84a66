DROP TABLE eventflow_doctor
